"""Decodes Dockerfiles and ignore files as docker does, and refuses what it would misread."""

import codecs

from hythe.worker.errors import InvalidDockerfile

_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def decode_dockerfile(content: bytes) -> str:
    """Return the text of a Dockerfile without its byte order mark. Raises InvalidDockerfile if it is no text."""
    text = decode_text(content, "the Dockerfile")
    if not text.strip():
        raise InvalidDockerfile("the Dockerfile is empty: begin it with FROM IMAGE")
    return text


def decode_text(content: bytes, name: str) -> str:
    """Return a text in UTF-8 without its byte order mark; other bytes become U+FFFD. Raises InvalidDockerfile.

    ``name`` stands for the file in errors.
    """
    for mark, encoding in _OTHER_ENCODINGS:
        if content.startswith(mark):
            raise InvalidDockerfile(f"{name} is in {encoding}: save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    before, nul, _ = content.partition(b"\0")
    if nul:
        line = before.count(b"\n") + 1
        raise InvalidDockerfile(f"{name} has a NUL byte in line {line}: save it as UTF-8 text")
    return content.decode(errors="replace")
