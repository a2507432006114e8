"""The response of a token server, read leniently (distribution, "Token Authentication"; RFC 6749)."""

from math import isfinite
from typing import Any

import msgspec

from hythe.oci.errors import OCIError

MIN_TOKEN_LIFETIME = 60
"""Seconds that a token is valid if its ``expires_in`` is missing or smaller (token specification)."""
MAX_TOKEN_LIFETIME = 24 * 3600
"""Seconds after which a token is renewed, whatever ``expires_in`` says."""


class InvalidTokenReply(OCIError):
    """The response of a token server contains no token."""


class ReceivedToken(msgspec.Struct, frozen=True):
    """A token, how many seconds it is valid, and a refresh token or ""."""

    token: str
    seconds: float = MIN_TOKEN_LIFETIME
    refresh_token: str = ""

    @classmethod
    def parse(cls, content: bytes) -> "ReceivedToken":
        """Read a response with ``token`` or ``access_token``. Raises InvalidTokenReply.

        ``expires_in`` may be missing, a fraction or a text. ``issued_at`` is ignored: the server's clock may be wrong.
        """
        try:
            fields = msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidTokenReply("not JSON") from error
        if not isinstance(fields, dict):
            raise InvalidTokenReply("not a JSON object")
        token = _text(fields.get("token")) or _text(fields.get("access_token"))
        if not token:
            raise InvalidTokenReply("no token")
        if not (token.isascii() and token.isprintable()):
            raise InvalidTokenReply("the token has characters that a header cannot have")
        return cls(token, _lifetime(fields.get("expires_in")), _text(fields.get("refresh_token")))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _lifetime(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return MIN_TOKEN_LIFETIME
    return min(max(seconds, MIN_TOKEN_LIFETIME), MAX_TOKEN_LIFETIME) if isfinite(seconds) else MIN_TOKEN_LIFETIME
