"""PNG files, chunk by chunk (PNG third edition)."""

from __future__ import annotations

import struct
import zlib

from ggufvlm.media.metadata import xmp
from ggufvlm.media.metadata.block import Damaged, Said, no_field
from ggufvlm.media.metadata.tiff import NEW_BLOCK, TiffFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP = b"XML:com.adobe.xmp\0"
_LARGEST_XMP = 64 << 20  # bytes, unpacked


class PngFile:
    """A PNG file; chunks that stay are copied with their checksums, right or wrong.

    Raises:
        Damaged: it is cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._chunks: list[tuple[bytes, bytes]] = []  # kind, all of it
        at = len(_SIGNATURE)
        while at < len(data) and (not self._chunks or self._chunks[-1][0] != b"IEND"):
            size = int.from_bytes(data[at : at + 4], "big")
            if at + 12 + size > len(data):
                raise Damaged("the PNG file is cut off")
            self._chunks.append((data[at + 4 : at + 8], data[at : at + 12 + size]))
            at += 12 + size
        self._rest = data[at:]
        if not any(kind == b"IDAT" for kind, _ in self._chunks):
            raise Damaged("the PNG file has no image")

    @staticmethod
    def is_one(data: bytes) -> bool:
        """Whether it begins like one."""
        return data.startswith(_SIGNATURE)

    FIELDS = ("xmp", "exif")
    """What it has places for."""

    def describe(self, field: str, text: Said) -> None:
        """Put a description into ``xmp`` or ``exif``."""
        if field == "exif":
            block = TiffFile(self._exif() or NEW_BLOCK)
            block.describe("exif", text)
            self._put(b"eXIf", block.to_bytes(), self._place(b"eXIf"))
        elif field == "xmp":
            # no compression, no language, no translated keyword
            payload = _XMP + b"\0\0\0\0" + xmp.described(self._xmp(), text)
            self._put(b"iTXt", payload, self._place(b"iTXt", _XMP))
        else:
            raise no_field("PNG", field)

    def description(self, field: str) -> str | None:
        """What stands in ``xmp`` or ``exif``."""
        if field == "exif":
            block = self._exif()
            return TiffFile(block).description("exif") if block else None
        if field == "xmp":
            return xmp.description(self._xmp())
        raise no_field("PNG", field)

    def keywords(self, field: str) -> tuple[str, ...]:
        """The keywords in a field; EXIF has none."""
        if field == "xmp":
            return xmp.keywords(self._xmp())
        return ()

    def to_bytes(self) -> bytes:
        """The file with what was put in."""
        return _SIGNATURE + b"".join(chunk for _, chunk in self._chunks) + self._rest

    def image(self) -> bytes:
        """Everything in the file but the fields for descriptions."""
        left_out = {self._place(b"eXIf"), self._place(b"iTXt", _XMP)}
        return b"".join(chunk for place, (_, chunk) in enumerate(self._chunks) if place not in left_out) + self._rest

    def _place(self, kind: bytes, start: bytes = b"") -> int | None:
        for place, (found, chunk) in enumerate(self._chunks):
            if found == kind and chunk[8:-4].startswith(start):
                return place
        return None

    def _payload(self, place: int | None) -> bytes | None:
        return None if place is None else self._chunks[place][1][8:-4]

    def _exif(self) -> bytes | None:
        return self._payload(self._place(b"eXIf"))

    def _xmp(self) -> bytes | None:
        payload = self._payload(self._place(b"iTXt", _XMP))
        if payload is None:
            return None
        is_packed = payload[len(_XMP) : len(_XMP) + 1] == b"\1"
        parts = payload[len(_XMP) + 2 :].split(b"\0", 2)
        if len(parts) < 3:
            raise Damaged("its XMP is damaged")
        return _unpacked(parts[2]) if is_packed else parts[2]

    def _put(self, kind: bytes, payload: bytes, place: int | None) -> None:
        chunk = (kind, struct.pack(">I", len(payload)) + kind + payload + _checksum(kind + payload))
        if place is not None:
            self._chunks[place] = chunk
            return
        first = next(place for place, (found, _) in enumerate(self._chunks) if found == b"IDAT")
        self._chunks.insert(first, chunk)


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _unpacked(data: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(data, _LARGEST_XMP)
    except zlib.error:
        raise Damaged("its XMP is damaged") from None
    if unpacker.unconsumed_tail:
        raise Damaged("its XMP is too large")
    return found
