"""The part of BER (X.690) that LDAP uses: definite lengths and tags of one byte (RFC 4511, section 5.1)."""

from collections.abc import Iterator

import msgspec

BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31

MAX_HEADER = 6
"""Bytes of a tag and a length of up to four bytes."""


class InvalidBER(ValueError):
    """Bytes that are no BER, or an element of another kind than expected."""


class Element(msgspec.Struct, frozen=True):
    """One element: its tag and its content."""

    tag: int
    content: bytes

    def require(self, tag: int) -> bytes:
        """Return the content of an element with this tag. Raises InvalidBER."""
        if self.tag != tag:
            raise InvalidBER(f"element {self.tag:#x} instead of {tag:#x}")
        return self.content

    @property
    def children(self) -> list["Element"]:
        """The elements in the content. Raises InvalidBER."""
        return list(elements(self.content))

    def integer(self, tag: int = INTEGER) -> int:
        """Return the value of an integer or enumeration. Raises InvalidBER."""
        content = self.require(tag)
        if not 1 <= len(content) <= 8:
            raise InvalidBER("invalid integer")
        return int.from_bytes(content, signed=True)


def encode(tag: int, *content: bytes) -> bytes:
    """Return an element whose content is all of ``content``."""
    joined = b"".join(content)
    size = len(joined)
    if size < 0x80:
        return bytes((tag, size)) + joined
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + joined


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Return an integer, or an enumeration with its tag."""
    return encode(tag, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def text(value: str, tag: int = OCTETS) -> bytes:
    """Return a text as octets."""
    return encode(tag, value.encode("utf-8", "surrogatepass"))


def boolean(value: bool) -> bytes:
    """Return a truth value."""
    return encode(BOOLEAN, b"\xff" if value else b"\0")


def header_size(first: bytes) -> int:
    """Return the size of the tag and length that begin with these two bytes. Raises InvalidBER."""
    if first[0] & 0x1F == 0x1F:
        raise InvalidBER("tag of several bytes")
    more = first[1] & 0x7F if first[1] & 0x80 else 0
    if first[1] == 0x80 or more > MAX_HEADER - 2:
        raise InvalidBER("invalid length")
    return 2 + more


def content_size(header: bytes) -> int:
    """Return the size of the content after this complete header."""
    return int.from_bytes(header[2:]) if header[1] & 0x80 else header[1]


def elements(content: bytes) -> Iterator[Element]:
    """Yield the elements that follow each other. Raises InvalidBER."""
    position = 0
    while position < len(content):
        if len(content) - position < 2:
            raise InvalidBER("an element is incomplete")
        start = position + header_size(content[position : position + 2])
        end = start + content_size(content[position:start])
        if end > len(content):
            raise InvalidBER("an element is incomplete")
        yield Element(content[position], content[start:end])
        position = end
