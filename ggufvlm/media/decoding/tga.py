"""Forms of TGA that Pillow refuses or gets wrong, as one that it reads.

They are packets that go on in the next row, colours of 15 bits, palettes of few colours, and an alpha channel that
nobody filled. The format is that of the "Truevision TGA File Format Specification", version 2.0.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

_HEAD = struct.Struct("<BBBHHBHHHHBB")
_MAPPED, _TRUE, _GREY, _PACKED = 1, 2, 3, 8  # kinds of images; the last is added to one of the others
_REPEATED = 0x80
_FULL = 256  # colours of a palette
_ALPHA_BITS, _INTERLEAVED = 0x0F, 0xC0  # of the flags
_FOOTER, _FOOTER_SIZE, _ATTRIBUTES = b"TRUEVISION-XFILE.\0", 26, 494


def open_tga(data: bytes) -> PIL.Image.Image | None:
    """Open a TGA; ``None`` if the file is none. It has no signature: the fields of its header make sense or not.

    Args:
        data: the whole file.
    """
    if len(data) < _HEAD.size:
        return None
    _, has_map, kind, _, _, map_bits, _, _, width, height, bits, flags = _HEAD.unpack_from(data)
    if has_map > 1 or kind & ~_PACKED not in (_MAPPED, _TRUE, _GREY) or kind > 11 or not width or not height:
        return None
    if bits not in (8, 15, 16, 24, 32) or flags & _INTERLEAVED or (has_map and map_bits not in (15, 16, 24, 32)):
        return None
    from PIL.TgaImagePlugin import TgaImageFile

    from ggufvlm.media.decoding.deferred import DeferredImage

    return DeferredImage("TGA", (width, height), lambda: TgaImageFile(io.BytesIO(_plain(data))))


def _plain(data: bytes) -> bytes:
    """The file without run lengths, without colours of 15 bits, and with a whole palette."""
    id_size, has_map, kind, first, n_colors, map_bits, x, y, width, height, bits, flags = _HEAD.unpack_from(data)
    n_pixels, plain_kind, has_alpha = width * height, kind & ~_PACKED, bool(flags & _ALPHA_BITS)
    at = _HEAD.size + id_size
    map_size = n_colors * ((map_bits + 7) // 8) if has_map else 0
    colors, pixels = data[at : at + map_size], data[at + map_size :]
    n_bytes = (bits + 7) // 8
    pixels = _expanded(pixels, n_pixels, n_bytes) if kind & _PACKED else pixels[: n_pixels * n_bytes]
    if plain_kind == _TRUE and bits in (15, 16) and not (has_alpha and bits == 16):
        pixels, bits = _of_24_bits(pixels), 24
    elif plain_kind == _TRUE and bits == 32 and (_says_no_alpha(data) or not any(pixels[3::4])):
        pixels = _opaque(pixels)
    if has_map and plain_kind == _MAPPED:
        if map_bits in (15, 16):
            colors, map_bits = _of_24_bits(colors), 24
        elif map_bits == 32 and colors[3::4] in (b"\0" * n_colors, b"\xff" * n_colors):
            colors, map_bits = _without_alpha(colors), 24  # Pillow 11 reads no other
        n_bytes = map_bits // 8
        colors = (bytes(first * n_bytes) + colors).ljust(_FULL * n_bytes, b"\0")[: _FULL * n_bytes]
        has_map, n_colors = 1, _FULL
    else:
        has_map, colors, n_colors, map_bits = 0, b"", 0, 0
    head = _HEAD.pack(0, has_map, plain_kind, 0, n_colors, map_bits, x, y, width, height, bits, flags)
    return head + colors + pixels


def _says_no_alpha(data: bytes) -> bool:
    """Whether the extension of version 2 calls the fourth channel empty."""
    if not data.endswith(_FOOTER) or len(data) < _FOOTER_SIZE:
        return False
    (place,) = struct.unpack_from("<I", data, len(data) - _FOOTER_SIZE)
    return bool(place) and data[place + _ATTRIBUTES : place + _ATTRIBUTES + 1] == b"\0"


def _opaque(pixels: bytes) -> bytes:
    whole = bytearray(pixels)
    whole[3::4] = b"\xff" * len(whole[3::4])
    return bytes(whole)


def _without_alpha(colors: bytes) -> bytes:
    kept = bytearray(colors)
    del kept[3::4]
    return bytes(kept)


def _expanded(packets: bytes, n_pixels: int, n_bytes: int) -> bytes:
    pixels, at, wanted = bytearray(), 0, n_pixels * n_bytes
    while len(pixels) < wanted:
        if at >= len(packets):
            raise EOFError
        count = (packets[at] & 0x7F) + 1
        if packets[at] & _REPEATED:
            pixels += packets[at + 1 : at + 1 + n_bytes] * count
            at += 1 + n_bytes
        else:
            pixels += packets[at + 1 : at + 1 + count * n_bytes]
            at += 1 + count * n_bytes
    return bytes(pixels[:wanted])


def _of_24_bits(colors: bytes) -> bytes:
    """Blue, green and red of five bits each, in bytes."""
    import numpy as np

    from ggufvlm.media.decoding.samples import masked

    values = np.frombuffer(colors, "<u2", len(colors) // 2).astype(np.uint32)
    return masked(values, (0x1F, 0x3E0, 0x7C00)).tobytes()
