"""WebP files, chunk by chunk (RFC 9649)."""

from __future__ import annotations

import struct

from ggufvlm.media.metadata import xmp
from ggufvlm.media.metadata.block import Damaged, Said, no_field
from ggufvlm.media.metadata.tiff import NEW_BLOCK, TiffFile

_HAS_EXIF, _HAS_XMP, _HAS_ALPHA = 0x08, 0x04, 0x10
_EXIF_PREFIX = b"Exif\0\0"  # some writers put it before the block, as in JPEG


class WebpFile:
    """A WebP file.

    Raises:
        Damaged: it is cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._chunks: list[tuple[bytes, bytes]] = []
        end = 8 + int.from_bytes(data[4:8], "little")
        if end > len(data) + 1:
            raise Damaged("the WebP file is cut off")
        at = 12
        while at + 8 <= min(end, len(data)):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            if at + 8 + size > len(data):
                raise Damaged("the WebP file is cut off")
            self._chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
            at += 8 + size + size % 2
        self._rest = data[end:]
        self._changed = False
        self._data = data

    @staticmethod
    def is_one(data: bytes) -> bool:
        """Whether it begins like one."""
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP"

    FIELDS = ("xmp", "exif")
    """What it has places for."""

    def describe(self, field: str, text: Said) -> None:
        """Put a description into ``xmp`` or ``exif``."""
        if field == "exif":
            old = self._get(b"EXIF") or b""
            prefix = _EXIF_PREFIX if old.startswith(_EXIF_PREFIX) else b""
            block = TiffFile(old[len(prefix) :] or NEW_BLOCK)
            block.describe("exif", text)
            self._put(b"EXIF", prefix + block.to_bytes(), _HAS_EXIF)
        elif field == "xmp":
            self._put(b"XMP ", xmp.described(self._get(b"XMP "), text), _HAS_XMP)
        else:
            raise no_field("WebP", field)

    def description(self, field: str) -> str | None:
        """What stands in ``xmp`` or ``exif``."""
        if field == "exif":
            block = (self._get(b"EXIF") or b"").removeprefix(_EXIF_PREFIX)
            return TiffFile(block).description("exif") if block else None
        if field == "xmp":
            return xmp.description(self._get(b"XMP "))
        raise no_field("WebP", field)

    def keywords(self, field: str) -> tuple[str, ...]:
        """The keywords in a field; EXIF has none."""
        if field == "xmp":
            return xmp.keywords(self._get(b"XMP "))
        return ()

    def to_bytes(self) -> bytes:
        """The file with what was put in."""
        if not self._changed:
            return self._data
        body = b"".join(
            kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
            for kind, payload in self._chunks
        )
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + self._rest

    def image(self) -> bytes:
        """Everything in the file but the fields for descriptions."""
        left_out = (b"EXIF", b"XMP ", b"VP8X")
        return b"".join(kind + payload for kind, payload in self._chunks if kind not in left_out)

    def _get(self, kind: bytes) -> bytes | None:
        return next((payload for found, payload in self._chunks if found == kind), None)

    def _put(self, kind: bytes, payload: bytes, flag: int) -> None:
        self._extend(flag)
        self._changed = True
        for place, (found, _) in enumerate(self._chunks):
            if found == kind:
                self._chunks[place] = (kind, payload)
                return
        # EXIF comes before XMP, and both behind the image
        place = next((place for place, (found, _) in enumerate(self._chunks) if found == b"XMP "), len(self._chunks))
        self._chunks.insert(place if kind == b"EXIF" else len(self._chunks), (kind, payload))

    def _extend(self, flag: int) -> None:
        """Say in the header that there is more than an image; make one if there is none."""
        if not self._chunks:
            raise Damaged("the WebP file has no image")
        kind, payload = self._chunks[0]
        if kind == b"VP8X" and len(payload) >= 10:
            self._chunks[0] = (kind, bytes([payload[0] | flag]) + payload[1:])
            return
        width, height, alpha = _size(kind, payload)
        header = bytes([flag | alpha, 0, 0, 0]) + _three(width - 1) + _three(height - 1)
        self._chunks.insert(0, (b"VP8X", header))


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _size(kind: bytes, payload: bytes) -> tuple[int, int, int]:
    """Width, height and alpha flag of a bitstream: RFC 6386 section 9.1, RFC 9649 section 3.4."""
    if kind == b"VP8 " and len(payload) >= 10 and payload[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF, 0
    if kind == b"VP8L" and len(payload) >= 5 and payload[0] == 0x2F:
        bits = int.from_bytes(payload[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, _HAS_ALPHA if bits >> 28 & 1 else 0
    raise Damaged("the WebP file has no image")
