"""A build that fails for a reason that its author can do something about."""


class BuildFailed(Exception):
    """The sentence says why, for the build's page."""
