"""Why a sandbox cannot be had, or ended what ran in it."""


class IsolationUnavailable(Exception):
    """The machine does not give the isolation that is asked for; the text says what is missing and what to do."""


class LimitReached(Exception):
    """What ran in the sandbox used more than it may; the text says what and how much, for the build's page."""


class Stopped(Exception):
    """What ran in the sandbox was ended because somebody asked for it."""
