"""PNG files whose trouble lies beside the image: a viewer shows them, and Pillow refuses the whole file.

Chunks are described in the PNG specification, third edition, 5.3 (layout) and 11.3 (ancillary chunks).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FRAME = struct.Struct(">I4s")  # length and type, before the data; behind them stands a checksum of four bytes
_MAX_UNPACKED = 1 << 20  # what Pillow takes of a text or profile
_MAX_TEXTS = 32 << 20  # what it takes of all of them
_UNPACKED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_trouble(data: bytes) -> bytes:
    """The file without chunks that are not needed for the image and cannot be read.

    Dropped are ancillary chunks with a wrong checksum, and texts and colour profiles that are packed in a way that is
    not known, or unpack to more than a megabyte, as those that image generators write.

    Args:
        data: the whole file; anything that is no PNG, or is cut off, comes back as it is.
    """
    if not data.startswith(_SIGNATURE):
        return data
    kept: list[memoryview] = []
    view, done, left = memoryview(data), 0, _MAX_TEXTS
    for start, end, kind in _chunks(data):
        if not kind[0] & 0x20:  # a critical chunk
            continue
        is_whole = zlib.crc32(view[start + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")
        size = _unpacked_size(kind, bytes(view[start + 8 : end - 4])) if kind in _UNPACKED else 0
        if is_whole and size is not None and size <= left:
            left -= size
        else:
            kept.append(view[done:start])
            done = end
    return b"".join([*kept, view[done:]]) if done else data


def _chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and type of each chunk that is there as a whole."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = _FRAME.unpack_from(data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield at, end, kind
        at = end


def _unpacked_size(kind: bytes, body: bytes) -> int | None:
    """Bytes of a text or profile; ``None`` if there are too many, or they cannot be unpacked."""
    keyword, _, rest = body.partition(b"\0")
    if not 0 < len(keyword) < 80:
        return None
    if kind == b"tEXt":
        return len(rest) if len(rest) <= _MAX_UNPACKED else None
    if kind == b"iTXt":
        if len(rest) < 2:
            return None
        is_packed, method = rest[0], rest[1]
        fields = rest[2:].split(b"\0", 2)
        if len(fields) < 3 or not is_packed:
            return len(rest) if len(fields) == 3 and len(rest) <= _MAX_UNPACKED else None
        packed = fields[2]
    else:
        method, packed = (rest[0], rest[1:]) if rest else (1, b"")
    if method != 0:
        return None
    unpacker = zlib.decompressobj()
    try:
        size = len(unpacker.decompress(packed, _MAX_UNPACKED))
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else size
