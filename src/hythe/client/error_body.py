"""What the body of an error response says: servers, their proxies and token servers use many forms.

{"errors": [{"code": .., "message": ..}]}       the distribution protocol
{"error": .., "error_description": ..}          OAuth
{"title": .., "detail": ..}                     problem details
{"details": ..}, {"message": ..}, "text", text  other servers
"""

from typing import Any

import msgspec

from hythe.oci.errors import ErrorEntry, decode_errors

MAX_REASON_LENGTH = 500
"""Characters of a server's text that an error message quotes."""
_FIELDS = ("error_description", "detail", "details", "message", "error", "title", "msg", "reason", "description")
"""Fields with a text, or with an object that has one, the most specific first."""
_MAX_DEPTH = 3


def error_reason(body: bytes) -> str:
    """Return the server's words, "" if the body has none (it is empty, or a page for a browser)."""
    if entries := decode_errors(body):
        return "; ".join(map(_description, entries))[:MAX_REASON_LENGTH]
    try:
        reason = _first_text(msgspec.json.decode(body), 0)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reason = _plain_text(body)
    return reason[:MAX_REASON_LENGTH]


def _description(entry: ErrorEntry) -> str:
    """Return the text of a protocol error; many registries only repeat the code as the message."""
    code = entry.code.lower().replace("_", " ")
    return code if entry.message.lower() == code else f"{code}: {entry.message}".strip(": ")


def _first_text(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and value and depth < _MAX_DEPTH:
        return _first_text(value[0], depth + 1)
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        texts = (_first_text(value.get(name), depth + 1) for name in (*_FIELDS, "errors"))
        return next(filter(None, texts), "")
    return ""


def _plain_text(body: bytes) -> str:
    """Return a body of plain text on one line; "" for HTML, XML, binary and broken JSON."""
    text = body.decode(errors="replace").strip()
    return "" if text[:1] in ("<", "{", "[") or "\0" in text or "</" in text else " ".join(text.split())
