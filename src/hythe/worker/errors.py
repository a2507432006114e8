"""Errors of the worker. The page of the build shows the message of all but JobLost and BuildStopped."""


class BuildFailed(Exception):
    """A build failed for a reason that its author can fix."""


class InvalidDockerfile(BuildFailed):
    """The Dockerfile cannot be parsed."""


class IsolationUnavailable(Exception):
    """This host lacks what the requested isolation needs; the message says what is missing and what to do."""


class LimitReached(Exception):
    """A process in the sandbox exceeded a limit; the message says which."""


class BuildStopped(Exception):
    """The sandbox was stopped because the build was cancelled or its lease was lost."""


class Interrupted(BaseException):
    """The attempt must end now because of ``reason``. Not an Exception, so that no step of a build handles it."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class JobLost(Exception):
    """The hub gave the build to another worker, or it has finished: stop working on it."""
