"""AFCP trailers: captions and previews behind an image, found by their distance from the beginning of the file.

AXS File Concatenation Protocol, version 1: a header, a directory, its values, and a record that leads to the header.
"""

from __future__ import annotations

import re
import struct

from ggufvlm.media.metadata.block import Damaged

_MARK = re.compile(rb"AXS[!*]")
_HEADER, _ENTRY, _RECORD = 12, 12, 12  # bytes


class AfcpTrailer:
    """What lies behind an image from the header of a trailer on; nothing where a file has none.

    Args:
        data: all of a file.
    """

    def __init__(self, data: bytes) -> None:
        self._start, self._end, self._named_start = _find(data)
        self._data = data[self._start :]

    def before(self, data: bytes) -> bytes:
        """The file without it."""
        return data[: self._start]

    def at(self, start: int) -> bytes:
        """The trailer as it has to be at a place in a file.

        Raises:
            Damaged: its directory cannot be read, or a part of it lies elsewhere in the file.
        """
        moved = start - self._named_start
        if not moved or not self._data:
            return self._data
        order = "<" if self._data[3:4] == b"*" else ">"
        out = bytearray(self._data)
        end = self._end - self._start
        (n_entries,) = struct.unpack_from(f"{order}H", out, 6)
        if _HEADER + n_entries * _ENTRY > end:
            raise Damaged("its AFCP trailer is damaged")
        for place in range(_HEADER, _HEADER + n_entries * _ENTRY, _ENTRY):
            size, at = struct.unpack_from(f"{order}II", out, place + 4)
            if not 0 <= at - self._named_start <= end - size:
                raise Damaged("its AFCP trailer holds offsets to other parts of the file")
            struct.pack_into(f"{order}I", out, place + 8, at + moved)
        struct.pack_into(f"{order}I", out, end + 4, start)
        return bytes(out)


def _find(data: bytes) -> tuple[int, int, int]:
    """Where a trailer's header and its last record are, and where that says the header is.

    These differ in files that a program has made longer which does not know of trailers. All are the end of a file
    that has none.
    """
    marks = [found.start() for found in _MARK.finditer(data) if found.start() + _RECORD <= len(data)]
    for place, end in reversed([*enumerate(marks)]):
        mark, before = data[end : end + 4], marks[place - 1] if place else end
        (named,) = struct.unpack_from("<I" if mark.endswith(b"*") else ">I", data, end + 4)
        if named + _HEADER <= end and data[named : named + 4] == mark:
            return named, end, named
        if end + _RECORD == len(data) and before + _HEADER <= end and data[before : before + 4] == mark:
            return before, end, named
    return len(data), len(data), len(data)
