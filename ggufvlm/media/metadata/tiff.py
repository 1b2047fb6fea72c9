"""TIFF files and EXIF blocks: entries of the first directory put in or replaced (TIFF 6.0).

Nothing is moved: a new directory goes to the end and the header points to it, so that offsets stay true wherever they
stand, in maker notes too.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ggufvlm.media.metadata import iptc, xmp
from ggufvlm.media.metadata.block import Damaged, Said

DESCRIPTION, XMP, IPTC, PHOTOSHOP = 270, 700, 33723, 34377
_BYTE, _ASCII, _LONG = 1, 2, 4
_HEADER = 8  # bytes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
NEW_BLOCK = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
"""An EXIF block with nothing in it."""


class _DirectoryEntry(NamedTuple):
    tag: int
    kind: int
    n_values: int
    field: bytes
    """The entry's value if it fits into four bytes, else where it lies."""


class TiffFile:
    """A TIFF file, or the inside of an EXIF block.

    Raises:
        Damaged: it cannot be read.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        if data[2:4] in (b"+\0", b"\0+"):
            raise Damaged("a BigTIFF: descriptions are not put into these")
        if not self.is_one(data):
            raise Damaged("its EXIF block is damaged")
        (self._start,) = self._unpack("I", 4)
        self._entries, self._next = self._directory()
        self._added: dict[int, tuple[int, bytes]] = {}

    @staticmethod
    def is_one(data: bytes) -> bool:
        """Whether it begins like one."""
        return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    FIELDS = ("xmp", "exif", "iptc")
    """What it has places for."""

    def describe(self, field: str, text: Said) -> None:
        """Put a description into ``xmp``, ``exif`` or ``iptc``."""
        if field == "exif":
            if not isinstance(text, str):
                raise Damaged("EXIF has no place for keywords")
            self.put(DESCRIPTION, _ASCII, text.replace("\0", "").encode("utf-8", "replace") + b"\0")
        elif field == "xmp":
            self.put(XMP, _BYTE, xmp.described(self.get(XMP), text))
        else:
            self._put_records(iptc.described(iptc.in_order(self.get(IPTC) or b""), text))

    def description(self, field: str) -> str | None:
        """What stands in ``xmp``, ``exif`` or ``iptc``."""
        if field == "exif":
            value = self.get(DESCRIPTION)
            return None if value is None else value.rstrip(b"\0").decode("utf-8", "replace")
        if field == "xmp":
            return xmp.description(self.get(XMP))
        return iptc.description(iptc.in_order(self.get(IPTC) or b""))

    def get(self, tag: int) -> bytes | None:
        """The value of an entry, as it lies in the file."""
        if tag in self._added:
            return self._added[tag][1]
        entry = next((entry for entry in self._entries if entry.tag == tag), None)
        if entry is None:
            return None
        size = _SIZES.get(entry.kind, 1) * entry.n_values
        if size <= 4:
            return entry.field[:size]
        (at,) = struct.unpack(f"{self._order}I", entry.field)
        if at < _HEADER or at + size > len(self._data):
            raise Damaged("its TIFF directory points beyond the end of the file, or at its beginning")
        return self._data[at : at + size]

    def put(self, tag: int, kind: int, value: bytes) -> None:
        """Add an entry to the directory, or replace it.

        Args:
            tag: the entry's number.
            kind: the type of its values.
            value: all of them, in the file's byte order.
        """
        self._added[tag] = (kind, value)

    def _put_records(self, records: bytes) -> None:
        """Put IPTC in as 32-bit numbers, as Photoshop does: some programs read no other type."""
        records = records.ljust(-(-len(records) // 4) * 4, b"\0")
        self.put(IPTC, _LONG, records)
        resources = self.get(PHOTOSHOP)
        if resources is not None:
            self.put(PHOTOSHOP, _BYTE, iptc.with_records(resources, records))

    def keywords(self, field: str) -> tuple[str, ...]:
        """The keywords in a field; EXIF has none."""
        if field == "xmp":
            return xmp.keywords(self.get(XMP))
        if field == "iptc":
            return iptc.keywords(iptc.in_order(self.get(IPTC) or b""))
        return ()

    def to_bytes(self) -> bytes:
        """The file with what was put in."""
        if not self._added:
            return self._data
        out = bytearray(self._data)
        entries = [entry for entry in self._entries if entry.tag not in self._added]
        for tag, (kind, value) in self._added.items():
            entries.append(_DirectoryEntry(tag, kind, len(value) // _SIZES[kind], self._place(out, value)))
        out += b"\0" * (len(out) % 2)
        start = len(out)
        if start >= 2**32:
            raise Damaged("the file would exceed 4 GiB")
        out += struct.pack(f"{self._order}H", len(entries))
        for entry in sorted(entries, key=lambda entry: entry.tag):
            out += struct.pack(f"{self._order}HHI", entry.tag, entry.kind, entry.n_values) + entry.field
        out += self._next
        out[4:8] = struct.pack(f"{self._order}I", start)
        return bytes(out)

    def image(self) -> bytes:
        """Everything in the file but the fields for descriptions, in a form that tells equal images."""
        parts = [self._next]
        for entry in self._entries:
            if entry.tag not in (DESCRIPTION, XMP, IPTC, PHOTOSHOP):
                parts.append(struct.pack("<HHI", entry.tag, entry.kind, entry.n_values) + (self.get(entry.tag) or b""))
        offsets, counts = self._numbers(273) or self._numbers(324), self._numbers(279) or self._numbers(325)
        parts += [self._data[at : at + size] for at, size in zip(offsets, counts, strict=False)]
        return b"".join(parts)

    def _numbers(self, tag: int) -> tuple[int, ...]:
        entry = next((entry for entry in self._entries if entry.tag == tag), None)
        value = self.get(tag) if entry else None
        if entry is None or value is None or entry.kind not in (3, 4):
            return ()
        return struct.unpack(f"{self._order}{entry.n_values}{'H' if entry.kind == 3 else 'I'}", value)

    def _place(self, out: bytearray, value: bytes) -> bytes:
        if len(value) <= 4:
            return value.ljust(4, b"\0")
        out += b"\0" * (len(out) % 2)
        at = struct.pack(f"{self._order}I", len(out)) if len(out) < 2**32 else b"\xff" * 4
        out += value
        return at

    def _directory(self) -> tuple[list[_DirectoryEntry], bytes]:
        (count,) = self._unpack("H", self._start)
        entries = []
        for number in range(count):
            at = self._start + 2 + 12 * number
            entries.append(_DirectoryEntry(*self._unpack("HHI4s", at)))
        end = self._start + 2 + 12 * count
        return entries, self._data[end : end + 4].ljust(4, b"\0")  # some writers leave out the last pointer

    def _unpack(self, form: str, at: int) -> tuple[Any, ...]:
        try:
            return struct.unpack_from(self._order + form, self._data, at)
        except struct.error:
            raise Damaged("its TIFF directory is cut off") from None
