"""The exceptions of the client library. The message says what failed and why; ``hint`` says what to do.

ClientError                 base class
├── RemoteNotFound          an image, repository, tag or blob does not exist
├── AccessDenied            the registry requires credentials, or rejects the ones it got
├── Unreachable             no connection, or too many broken ones
├── RegistryError           the registry returned an error
├── ContentMismatch         content does not match its digest or size
├── RemoteConflict          already exists, or is in use
├── InvalidConfiguration    a configuration or credential file is invalid
├── InvalidName             the name of an image, a tag, a digest or a host is invalid
├── InvalidImage            a manifest or an image configuration is invalid
└── UnusableFile            a local file or folder cannot be read or written
    └── DiskFull            there is no space left, or the quota is used up
"""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC

from hythe.oci.errors import InvalidDigest, InvalidManifest, InvalidReference, OCIError
from hythe.oci.scope import InvalidScope

DISK_FULL = (ENOSPC, EDQUOT)
"""The errors of a disk or quota that is full."""


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


class InvalidName(ClientError, InvalidReference):
    """The name of an image, a tag, a digest or a host is invalid."""


class InvalidImage(ClientError, InvalidManifest):
    """A manifest or an image configuration is invalid."""


class UnusableFile(ClientError):
    """A local file or folder cannot be read or written."""


class DiskFull(UnusableFile, OSError):
    """There is no space left on a disk, or the user's quota is used up; ``errno`` says which."""


@contextmanager
def as_client_errors() -> Iterator[None]:
    """Raise the errors of ``oci`` and of the operating system as ClientError: for what users of the library call."""
    try:
        yield
    except ClientError:
        raise
    except (InvalidReference, InvalidDigest, InvalidScope) as error:
        raise InvalidName(str(error), "write [HOST[:PORT]/]NAME[:TAG][@DIGEST]") from error
    except OCIError as error:
        raise InvalidImage(str(error), "the image is damaged: contact its owner") from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFull(os_error_message(error), "free space on that disk") from error
        raise UnusableFile(os_error_message(error), "check the path and its permissions") from error


def os_error_message(error: OSError) -> str:
    """Return the file name, if known, and the reason without the number."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason
