"""Writing from threads that may still run when the process ends.

A thread that a full pipe or a stopped terminal blocks in one of Python's buffers keeps the lock of the buffer. Python
needs it when it exits: it waits without end, or ends with "Fatal Python error: _enter_buffered_busy". A write to the
descriptor holds no lock.
"""

import os
import select
from typing import TextIO


def write_text(stream: TextIO, text: str) -> None:
    """Write to the descriptor of a text stream, or to the stream if it has none."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        stream.write(text)
        stream.flush()
        return
    write_all(descriptor, text.encode(stream.encoding, stream.errors or "strict"))


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes to a descriptor. Raises OSError."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
