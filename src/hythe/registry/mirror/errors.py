"""What fails at an upstream, and the response that the mirror's clients get.

UpstreamError                   root
├── UpstreamMissing             404: the upstream does not have the content
├── UpstreamUnavailable         503: the upstream does not respond, or reports an error of its own; a retry may help
├── UpstreamBusy                429 or 503, as the upstream sent: it asks to wait
└── UpstreamInvalid             502: it refuses access, or sends what no registry sends; the operator has to look
    └── UpstreamRejected            it rejects the credentials, or requires some

Messages name the upstream's host and contain a bounded part of the response, with control characters escaped.
"""

import re
from http import HTTPStatus

from hythe.control_characters import escape_line
from hythe.oci.errors import ErrorCode, WireError, decode_errors

MAX_QUOTED = 200
"""Maximum number of characters of an upstream's text in a message."""

UNAVAILABLE_RETRY_AFTER = 10
"""Seconds after which clients may ask again while the upstream does not respond."""

_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)


class UpstreamError(Exception):
    """Root of the errors of upstream requests."""


class UpstreamMissing(UpstreamError):
    """The upstream does not have the content.

    ``certain`` is False if its response may have another reason, such as missing permissions.
    """

    def __init__(self, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.certain = certain


class UpstreamUnavailable(UpstreamError):
    """The upstream does not respond, or reports an internal error; a later retry may help."""


class UpstreamBusy(UpstreamError):
    """The upstream asks to wait; ``status`` is 429 or 503, ``retry_after`` in seconds."""

    def __init__(self, message: str, status: int, retry_after: int) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class UpstreamInvalid(UpstreamError):
    """The upstream refuses access, or its response is not a registry's; a retry does not help."""


class UpstreamRejected(UpstreamInvalid):
    """The upstream, or its token server, rejects the credentials or requires some."""


def quote(content: bytes) -> str:
    """Return what an error response says, to be appended to a message: the registry's errors, a page's title, or text.

    Returns "" if it is empty.
    """
    text = "; ".join(f"{entry.code}: {entry.message}".strip(": ") for entry in decode_errors(content))
    if not text:
        text = content.decode(errors="replace")
        title = _TITLE.search(text)
        text = title[1] if title else re.sub("<[^>]*>", " ", text)
    return quote_text(text)


def quote_text(text: str) -> str:
    """Return an upstream's text on one line, bounded and escaped, to be appended to a message."""
    words = " ".join(text[: MAX_QUOTED * 10].split())
    escaped = escape_line(words[:MAX_QUOTED] + ("..." if len(words) > MAX_QUOTED else ""))
    return f": {escaped}" if escaped else ""


def wire_error(error: UpstreamError, missing: WireError) -> WireError:
    """Return the response for an upstream's error; ``missing`` is the one for content that does not exist."""
    message = f"this is a mirror: {error}"
    if isinstance(error, UpstreamMissing):
        return WireError(missing.code, message, detail=missing.detail)
    if isinstance(error, UpstreamInvalid):
        return WireError(ErrorCode.UNAVAILABLE, message, status=HTTPStatus.BAD_GATEWAY)
    if isinstance(error, UpstreamBusy):
        code = ErrorCode.TOOMANYREQUESTS if error.status == HTTPStatus.TOO_MANY_REQUESTS else ErrorCode.UNAVAILABLE
        return WireError(code, message, headers={"Retry-After": str(error.retry_after)})
    return WireError(ErrorCode.UNAVAILABLE, message, headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER)})
