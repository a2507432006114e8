"""The exceptions of this package. Each message says what went wrong; ``hint`` says what to do.

ContainerError                  anything that went wrong with a container
├── NoSuchContainer             no container has the name or ID
├── NameTaken                   another container has the name
├── StillRunning                a container that must be stopped first, or that runs already
├── NotRemoved                  something is mounted in a folder, or it may not be written
├── CannotStart                 the container did not start; ``exit_code`` as docker's
└── InvalidOption               an option that makes no sense
"""


class ContainerError(Exception):
    """Root of everything that this package raises."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NoSuchContainer(ContainerError):
    """No container has the name or ID."""


class NameTaken(ContainerError):
    """Another container has the name already."""


class StillRunning(ContainerError):
    """The container must be stopped before, or runs already."""


class NotRemoved(ContainerError):
    """A folder could not be removed; what is left of it goes the next time."""


class InvalidOption(ContainerError):
    """An option that makes no sense, alone or beside the others."""


class CannotStart(ContainerError):
    """The container did not start. ``exit_code``: 125 our or the runtime's fault, 126 cannot be run, 127 not found."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 125) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
