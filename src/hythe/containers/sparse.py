"""Files with holes: read without reading the holes from disk, and written without storing runs of zeros.

Layers contain sparse files as plain ones (image specification, "Image Layer Filesystem Changeset": sparse archives lack
support), so a hole becomes zeros in a layer, and zeros become a hole again on disk.
"""

import errno
import os
from itertools import groupby

BLOCK = 64 << 10
"""Bytes of zeros that become a hole."""

_ZEROS = bytes(1 << 20)
_ZERO_BLOCK = _ZEROS[:BLOCK]


class SparseReader:
    """Reads an open file from its start. The kernel would fill its page cache with the zeros of holes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._data = self._hole = 0  # data starts at ``_data`` and ends at ``_hole``

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end of the file."""
        if self._offset >= self._hole:
            self._find_data()
        if self._offset < self._data:
            piece = _ZEROS[: min(size, self._data - self._offset)]
        else:
            piece = os.pread(self._descriptor, min(size, self._hole - self._offset), self._offset)
        self._offset += len(piece)
        return piece

    def _find_data(self) -> None:
        end = max(os.fstat(self._descriptor).st_size, self._offset)
        try:
            self._data = os.lseek(self._descriptor, self._offset, os.SEEK_DATA)
            self._hole = os.lseek(self._descriptor, self._data, os.SEEK_HOLE)
        except OSError as error:
            # ENXIO: there is no more data. Other errors: the file system cannot tell.
            self._data, self._hole = (end if error.errno == errno.ENXIO else self._offset), end


def write_sparse(descriptor: int, offset: int, data: bytes) -> None:
    """Write ``data`` at ``offset`` of a new file, with holes for blocks of zeros.

    The caller sets the file's size, because the file may end with a hole.
    """
    view = memoryview(data)
    for is_hole, run in groupby(range(0, len(data), BLOCK), lambda start: data.startswith(_ZERO_BLOCK, start)):
        if not is_hole:
            starts = list(run)
            _write(descriptor, offset + starts[0], view[starts[0] : starts[-1] + BLOCK])


def _write(descriptor: int, offset: int, data: memoryview) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        offset, data = offset + written, data[written:]
