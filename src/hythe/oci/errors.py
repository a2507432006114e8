"""The protocol's error codes as one table, and this package's exceptions.

    OCIError                        root
    ├── InvalidReference            an invalid repository name, tag or reference
    ├── InvalidDigest               an invalid digest, or one of an unknown algorithm
    ├── InvalidManifest             bytes that are not a manifest
    └── WireError                   an error response of the distribution protocol, with status and code

Distribution specification 1.1, "Error Codes"; further codes are those of Docker's registry.
"""

from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec


class OCIError(ValueError):
    """Root of this package's errors."""


class InvalidReference(OCIError):
    """The repository name, tag or reference is invalid."""


class InvalidDigest(OCIError):
    """The digest is invalid, or its algorithm is not supported."""


class InvalidManifest(OCIError):
    """The bytes are not a manifest of a known kind."""


class ErrorCode(Enum):
    """An error code of the protocol: its HTTP status and its default message."""

    BLOB_UNKNOWN = (HTTPStatus.NOT_FOUND, "blob unknown to registry")
    BLOB_UPLOAD_INVALID = (HTTPStatus.BAD_REQUEST, "blob upload invalid")
    BLOB_UPLOAD_UNKNOWN = (HTTPStatus.NOT_FOUND, "blob upload unknown to registry")
    DIGEST_INVALID = (HTTPStatus.BAD_REQUEST, "provided digest did not match uploaded content")
    MANIFEST_BLOB_UNKNOWN = (
        HTTPStatus.NOT_FOUND,
        "manifest references a manifest or blob unknown to registry",
    )
    MANIFEST_INVALID = (HTTPStatus.BAD_REQUEST, "manifest invalid")
    MANIFEST_UNKNOWN = (HTTPStatus.NOT_FOUND, "manifest unknown")
    NAME_INVALID = (HTTPStatus.BAD_REQUEST, "invalid repository name")
    NAME_UNKNOWN = (HTTPStatus.NOT_FOUND, "repository name not known to registry")
    SIZE_INVALID = (HTTPStatus.BAD_REQUEST, "provided length did not match content length")
    TAG_INVALID = (HTTPStatus.BAD_REQUEST, "manifest tag did not match URI")
    UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, "authentication required")
    DENIED = (HTTPStatus.FORBIDDEN, "requested access to the resource is denied")
    UNSUPPORTED = (HTTPStatus.METHOD_NOT_ALLOWED, "the operation is unsupported")
    TOOMANYREQUESTS = (HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
    PAGINATION_NUMBER_INVALID = (HTTPStatus.BAD_REQUEST, "invalid number of results requested")
    UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "service unavailable")

    @property
    def status(self) -> HTTPStatus:
        """The default HTTP status of this code."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The default message of this code."""
        return self.value[1]


class WireError(OCIError):
    """An error response of the distribution protocol.

    ``message`` tells users what to do; ``detail`` is any JSON value for programs; ``status`` overrides the code's HTTP
    status where the protocol requires another one (416 for a chunk out of order); ``headers`` are sent with the
    response.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        detail: Any = None,
        status: HTTPStatus | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.code = code
        self.message = message or code.message
        self.detail = detail
        self.status = status or code.status
        self.headers = headers or {}
        super().__init__(self.message)


class ErrorEntry(msgspec.Struct, frozen=True):
    """An entry of an error body."""

    code: str
    message: str = ""
    detail: Any = None


class ErrorBody(msgspec.Struct, frozen=True):
    """``{"errors": [{"code", "message", "detail"}, ..]}``, the body of every error response."""

    errors: tuple[ErrorEntry, ...] = ()


def encode_errors(*errors: WireError) -> bytes:
    """Return the JSON body that reports ``errors``."""
    return msgspec.json.encode(ErrorBody(tuple(ErrorEntry(e.code.name, e.message, e.detail) for e in errors)))


def decode_errors(body: bytes) -> tuple[ErrorEntry, ...]:
    """Return the entries of an error body; empty if ``body`` is not one (for instance a proxy's page).

    Servers differ: entries without a code or message, null and numbers are read as far as they say something.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    entries = document.get("errors") if isinstance(document, dict) else None
    return tuple(filter(None, map(_entry, entries))) if isinstance(entries, list) else ()


def _entry(value: Any) -> ErrorEntry | None:
    if isinstance(value, str):
        return ErrorEntry("", value) if value else None
    if not isinstance(value, dict):
        return None
    code, message = (_text(value.get(name)) for name in ("code", "message"))
    return ErrorEntry(code, message, value.get("detail")) if code or message else None


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
