"""Search filters: the text of RFC 4515 in the setting becomes the BER of RFC 4511, section 4.5.1.

What users type is put into a filter by ``escape``, so it can never be more than a value.
"""

import re

from hythe.identity_providers.ldap import ber

MAX_DEPTH = 20
_AND, _OR, _NOT, _EQUAL, _SUBSTRINGS = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4
_GREATER, _LESS, _PRESENT, _APPROXIMATE, _EXTENSIBLE = 0xA5, 0xA6, 0x87, 0xA8, 0xA9
_COMPARISONS = {"=": _EQUAL, ">=": _GREATER, "<=": _LESS, "~=": _APPROXIMATE}
_ITEM = re.compile(r"(?P<left>[^=<>~]+?)(?P<operator>>=|<=|~=|:=|=)(?P<value>[^()\0]*)", re.DOTALL)
_ATTRIBUTE = re.compile(r"[A-Za-z0-9.;-]+")
_RULE = re.compile(r"(?P<attribute>[A-Za-z0-9.;-]*)(?P<dn>:dn)?(?::(?P<rule>[A-Za-z0-9.-]+))?", re.IGNORECASE)
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2})|\\")


class InvalidFilter(ValueError):
    """The text is no search filter; the message says why."""


def escape(value: str) -> str:
    """Return a value in which no character has a meaning in a filter."""
    return "".join(f"\\{ord(each):02x}" if each in "\\*()\0" else each for each in value)


def parse_filter(text: str) -> bytes:
    """Return the BER of a filter such as ``(&(objectClass=person)(uid=ann))``. Raises InvalidFilter."""
    encoded, rest = _parse(text, 0)
    if rest:
        raise InvalidFilter(f"after the filter comes {rest[:20]!r}")
    return encoded


def _parse(text: str, depth: int) -> tuple[bytes, str]:
    """Return the first filter of a text, and the rest."""
    if not text.startswith("(") or depth > MAX_DEPTH:
        raise InvalidFilter("a filter begins with (" if depth <= MAX_DEPTH else "filters are nested too deeply")
    if text[1:2] in ("&", "|"):
        parts, rest = [], text[2:]
        while rest.startswith("("):
            part, rest = _parse(rest, depth + 1)
            parts.append(part)
        encoded = ber.encode(_AND if text[1] == "&" else _OR, *parts)
    elif text[1:2] == "!":
        part, rest = _parse(text[2:], depth + 1)
        encoded = ber.encode(_NOT, part)
    else:
        item, closing, _ = text[1:].partition(")")
        encoded, rest = _parse_item(item), text[1 + len(item) :] if closing else ""
    if not rest.startswith(")"):
        raise InvalidFilter("a filter ends with )")
    return encoded, rest[1:]


def _parse_item(item: str) -> bytes:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise InvalidFilter(f"{item[:40]!r} is no comparison such as uid=ann")
    left, operator, value = found["left"], found["operator"], found["value"]
    if operator == ":=":
        return _extensible(left, value)
    if not _ATTRIBUTE.fullmatch(left):
        raise InvalidFilter(f"{left[:40]!r} is no attribute")
    if operator != "=" or "*" not in value:
        return ber.encode(_COMPARISONS[operator], ber.text(left), ber.encode(ber.OCTETS, _value(value)))
    if value == "*":
        return ber.text(left, _PRESENT)
    return ber.encode(_SUBSTRINGS, ber.text(left), ber.encode(ber.SEQUENCE, *_substrings(value)))


def _substrings(value: str) -> list[bytes]:
    first, *middle, last = value.split("*")
    parts = [(0x80, first), *((0x81, each) for each in middle), (0x82, last)]
    return [ber.encode(tag, _value(part)) for tag, part in parts if part]


def _extensible(left: str, value: str) -> bytes:
    found = _RULE.fullmatch(left)
    if found is None or not (found["attribute"] or found["rule"]):
        raise InvalidFilter(f"{left[:40]!r} is no attribute with a matching rule")
    parts = [ber.text(found["rule"], 0x81)] if found["rule"] else []
    parts += [ber.text(found["attribute"], 0x82)] if found["attribute"] else []
    parts.append(ber.encode(0x83, _value(value)))
    return ber.encode(_EXTENSIBLE, *parts, *([ber.encode(0x84, b"\xff")] if found["dn"] else []))


def _value(text: str) -> bytes:
    """Return a value without its escapes."""

    def unescaped(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            raise InvalidFilter(r"after \ come two hexadecimal digits")
        return bytes.fromhex(found[1].decode())

    return _ESCAPED.sub(unescaped, text.encode("utf-8", "surrogatepass"))
