"""Forms of BMP that Pillow refuses: any bit fields, palettes of two bits, of too many and of too few colours.

The format is that of https://learn.microsoft.com/en-us/windows/win32/gdi/bitmap-storage.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.media.decoding.decode_errors import UnreadForm

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

_FILE_HEADER, _CORE, _INFO = 14, 12, 40  # bytes
_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_PLAIN, _FIELDS, _JPEG, _PNG, _ALPHA_FIELDS = 0, 3, 4, 5, 6
_COMPRESSION = {1: "run lengths of 8 bits", 2: "run lengths of 4 bits", 4: "run lengths of 24 bits"}
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 24: (0xFF0000, 0xFF00, 0xFF), 32: (0xFF0000, 0xFF00, 0xFF)}


def with_fewer_colors(data: bytes) -> bytes:
    """A BMP whose palette has more colours than its pixels can name, without these; anything else as it is."""
    if not data.startswith(b"BM") or len(data) < _FILE_HEADER + _INFO or data[_FILE_HEADER] < _INFO:
        return data
    bits, n_colors = struct.unpack_from("<H", data, 28)[0], struct.unpack_from("<I", data, 46)[0]
    if bits > 8 or n_colors <= 1 << bits:
        return data
    return data[:46] + struct.pack("<I", 1 << bits) + data[50:]


@dataclass(frozen=True, slots=True)
class _Head:
    """What the header says.

    Attributes:
        start: where the pixels begin.
        palette: where the colours begin, how many there are, and bytes of each.
        masks: red, green, blue and perhaps alpha, each as bits of a pixel.
    """

    width: int
    height: int
    is_upside_down: bool
    bits: int
    kind: int
    start: int
    palette: tuple[int, int, int]
    masks: tuple[int, ...]


def uncommon_bmp(data: bytes) -> PIL.Image.Image | None:
    """Open a BMP of which Pillow has no decoder; ``None`` if the file is none.

    Args:
        data: the whole file.

    Raises:
        UnreadForm: of a kind that is not read here either.
        EOFError, struct.error: it is cut off.
    """
    head = _head(data)
    if head is None:
        return None
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"), head.start) and head.kind in (_JPEG, _PNG):
        from PIL import JpegImagePlugin, PngImagePlugin

        inner = io.BytesIO(data[head.start :])
        return JpegImagePlugin.JpegImageFile(inner) if head.kind == _JPEG else PngImagePlugin.PngImageFile(inner)
    if head.kind not in (_PLAIN, _FIELDS, _ALPHA_FIELDS) or head.bits not in (1, 2, 4, 8, 16, 24, 32):
        form = f"{head.bits} bits a pixel, {_COMPRESSION.get(head.kind, f'compression {head.kind}')}"
        raise UnreadForm("BMP", form)
    if head.width < 1 or head.height < 1:
        raise ValueError(f"{head.width}x{head.height} pixels")
    from ggufvlm.media.decoding.deferred import DeferredImage

    return DeferredImage("BMP", (head.width, head.height), lambda: _decoded(data, head))


def _head(data: bytes) -> _Head | None:
    if not data.startswith(b"BM") or len(data) < _FILE_HEADER + _CORE:
        return None
    start, size = struct.unpack_from("<II", data, 10)
    if size not in _HEADERS:
        return None
    if size == _CORE:
        width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
        kind = n_colors = 0
    else:
        fields = data[_FILE_HEADER + 4 : _FILE_HEADER + size].ljust(_INFO - 4, b"\0")
        width, height, planes, bits, kind, _, _, _, n_colors, _ = struct.unpack_from("<iiHHIIiiII", fields)
    if planes > 1 and bits > 32:
        return None
    has_masks = kind in (_FIELDS, _ALPHA_FIELDS)
    masks: tuple[int, ...] = _DEFAULT_MASKS.get(bits, ())
    if has_masks:
        masks = struct.unpack_from("<III", data, _FILE_HEADER + _INFO)
        if kind == _ALPHA_FIELDS or size >= 56:
            masks += struct.unpack_from("<I", data, _FILE_HEADER + _INFO + 12)
    place = _FILE_HEADER + size + ((16 if kind == _ALPHA_FIELDS else 12) if has_masks and size == _INFO else 0)
    per_color = 3 if size == _CORE else 4
    n_colors = min(n_colors or 1 << min(bits, 8), 1 << min(bits, 8), max(0, start - place) // per_color)
    palette = (place, n_colors, per_color)
    return _Head(width, abs(height), height > 0, bits, kind, start, palette, masks)


def _decoded(data: bytes, head: _Head) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    from ggufvlm.media.decoding.samples import in_strips, masked, unpacked

    stride = (head.width * head.bits + 31) // 32 * 4
    if head.start + stride * head.height > len(data):
        raise EOFError
    rows = np.frombuffer(data, np.uint8, stride * head.height, head.start).reshape(head.height, stride)
    rows = rows[::-1] if head.is_upside_down else rows
    if head.bits <= 8:
        colors = _palette(data, head)
        pixels = in_strips(head.width, head.height, 3, lambda part: colors[unpacked(rows[part], head.width, head.bits)])
        return PIL.Image.fromarray(pixels)
    masks = head.masks if len(head.masks) == 4 and head.masks[3] else head.masks[:3]
    pixels = in_strips(head.width, head.height, len(masks), lambda part: masked(_numbers(rows[part], head), masks))
    if len(masks) == 4 and not pixels[..., 3].any():
        pixels = np.ascontiguousarray(pixels[..., :3])  # a channel that nobody filled
    return PIL.Image.fromarray(pixels)


def _numbers(rows: NDArray[np.uint8], head: _Head) -> NDArray[np.uint32]:
    """Each pixel as one number, ``(height, width)``."""
    import numpy as np

    n_bytes = head.bits // 8
    split = rows[:, : head.width * n_bytes].reshape(len(rows), head.width, n_bytes)
    numbers = np.zeros(split.shape[:2], np.uint32)
    for place in range(n_bytes):
        numbers |= split[:, :, place].astype(np.uint32) << np.uint32(8 * place)
    return numbers


def _palette(data: bytes, head: _Head) -> NDArray[np.uint8]:
    """256 colours, ``(256, 3)``; those that the file does not have are black."""
    import numpy as np

    place, count, per_color = head.palette
    colors = np.zeros((256, 3), np.uint8)
    entries = np.frombuffer(data, np.uint8, count * per_color, place).reshape(count, per_color)
    colors[:count] = entries[:, 2::-1]
    return colors
