"""What fails while content is copied. The errors of the other registry are those of ``registry.mirror.errors``."""


class CopyFailed(Exception):
    """An image cannot be copied; the message says why. Others of the rule may be copied."""


class ReplicationLeaseLost(Exception):
    """Another server works on the item now: this one was too slow to say that it still does."""


class FollowingFailed(Exception):
    """The first site cannot be followed; the message says why."""
