"""The exceptions of this package. The message says what failed and why; ``hint`` says what to do.

ContainerError                  base class
├── NoSuchContainer             no container has the name or ID
├── NameTaken                   another container has the name
├── StillRunning                the container is running, or must be stopped first
├── NotRemoved                  a folder is a mount point, or not writable
├── CannotStart                 the container did not start; ``exit_code`` as docker's
└── InvalidOption               an invalid option
"""


class ContainerError(Exception):
    """Base class of the exceptions of this package."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NoSuchContainer(ContainerError):
    """No container has the name or ID."""


class NameTaken(ContainerError):
    """Another container has the name already."""


class StillRunning(ContainerError):
    """The container is running, or must be stopped first."""


class NotRemoved(ContainerError):
    """A folder could not be removed completely; the next removal tries again."""


class InvalidOption(ContainerError):
    """An option is invalid, or conflicts with another one."""


class CannotStart(ContainerError):
    """The container did not start. ``exit_code``: 127 command not found, 126 not executable, 125 any other error."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 125) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
