"""What the client library raises. Each message says what went wrong; ``hint`` says what to do.

ClientError                 anything that this package raises
├── RemoteNotFound                no such image, repository, tag or blob
├── AccessDenied            the registry wants credentials, or refuses those it got
├── Unreachable             no connection, or one that broke more often than we retry
├── RegistryError           the registry answered with an error
├── ContentMismatch         content is not what its digest or size says
├── RemoteConflict                in use, or changed by somebody else meanwhile
└── InvalidConfiguration    a configuration or credential file that cannot be read
"""


class ClientError(Exception):
    """Root of everything that this package raises."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RemoteNotFound(ClientError):
    """No such image, repository, tag or blob."""


class AccessDenied(ClientError):
    """The registry wants credentials, or refuses those it got."""


class Unreachable(ClientError):
    """No connection, or one that broke more often than we retry."""


class RegistryError(ClientError):
    """The registry answered ``status``, perhaps one of the protocol's error codes, and when to ask again."""

    def __init__(self, message: str, hint: str = "", *, status: int = 0, code: str = "", retry_after: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class ContentMismatch(ClientError):
    """Content is not what its digest or size says."""


class RemoteConflict(ClientError):
    """In use, or changed by somebody else meanwhile."""


class InvalidConfiguration(ClientError):
    """A configuration or credential file that cannot be read."""
