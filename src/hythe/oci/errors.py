"""The errors of the wire, as one table, and the exceptions of this package.

    OCIError                        anything that this package refuses
    ├── InvalidReference            a repository name, tag or reference outside the grammar
    ├── InvalidDigest               a digest outside the grammar, or of an unknown algorithm
    ├── InvalidManifest             bytes that are no manifest
    └── WireError                   an answer of the distribution protocol with status and code

Distribution specification 1.1, "Error Codes"; the codes beyond it are those of Docker's registry.
"""

from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec


class OCIError(ValueError):
    """Root of everything that this package raises."""


class InvalidReference(OCIError):
    """A repository name, tag or reference that the grammar does not allow."""


class InvalidDigest(OCIError):
    """A digest that the grammar does not allow, or whose algorithm is not supported."""


class InvalidManifest(OCIError):
    """Bytes that are not a manifest of any known kind."""


class ErrorCode(Enum):
    """One code of the wire: its HTTP status and the sentence that is sent when nothing better is known."""

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
        """The HTTP status that goes with this code unless a rule of the protocol names another."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The general sentence for this code."""
        return self.value[1]


class WireError(OCIError):
    """An error answer of the distribution protocol.

    ``message`` is for people and says what to do; ``detail`` is any JSON value for programs; ``status`` overrides
    the code's own HTTP status where the protocol wants another (416 for a chunk out of order); ``headers`` go
    out with the answer.
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
    """One entry of an error body."""

    code: str
    message: str = ""
    detail: Any = None


class ErrorBody(msgspec.Struct, frozen=True):
    """``{"errors": [{"code", "message", "detail"}, ..]}``, the body of every error of the protocol."""

    errors: tuple[ErrorEntry, ...] = ()


def encode_errors(*errors: WireError) -> bytes:
    """Return the JSON body that reports ``errors``."""
    return msgspec.json.encode(ErrorBody(tuple(ErrorEntry(e.code.name, e.message, e.detail) for e in errors)))


def decode_errors(body: bytes) -> tuple[ErrorEntry, ...]:
    """Return the entries of an error body; empty when ``body`` is not one (a proxy's page, say)."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).errors
    except msgspec.MsgspecError:
        return ()
