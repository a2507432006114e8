"""The exceptions of the client library. The message says what failed and why; ``hint`` says what to do.

ClientError                 base class
├── RemoteNotFound          an image, repository, tag or blob does not exist
├── AccessDenied            the registry requires credentials, or rejects the ones it got
├── Unreachable             no connection, or too many broken ones
├── RegistryError           the registry returned an error
├── ContentMismatch         content does not match its digest or size
├── RemoteConflict          already exists, or is in use
└── InvalidConfiguration    a configuration or credential file is invalid
"""


class ClientError(Exception):
    """Base class of the exceptions of this package."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class RemoteNotFound(ClientError):
    """An image, repository, tag or blob does not exist."""


class AccessDenied(ClientError):
    """The registry requires credentials, or rejects the ones it got."""


class Unreachable(ClientError):
    """No connection could be opened, or too many broke."""


class RegistryError(ClientError):
    """The registry returned an error; ``code`` is the protocol's error code, if any."""

    def __init__(self, message: str, hint: str = "", *, status: int = 0, code: str = "", retry_after: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class ContentMismatch(ClientError):
    """Content does not match its digest or size."""


class RemoteConflict(ClientError):
    """Something already exists, or is in use."""


class InvalidConfiguration(ClientError):
    """A configuration or credential file is invalid."""
