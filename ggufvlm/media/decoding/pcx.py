"""Forms of PCX that Pillow refuses: 2 and 4 bits, three planes, and 8 bits without a palette at the end.

The format is that of the "ZSoft PCX File Format Technical Reference Manual", revision 5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ggufvlm.media.decoding.decode_errors import UnreadForm

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

_HEAD = struct.Struct("<BBBBHHHHHH48sxBH")
_SIZE = 128  # bytes of the header
_SIGNATURE = 10
_RUN, _COUNT = 0xC0, 0x3F
_EARLY_COLORS = bytes.fromhex("000000 0000aa 00aa00 00aaaa aa0000 aa00aa aa5500 aaaaaa 555555 5555ff 55ff55 55ffff")
_LATE_COLORS = bytes.fromhex("ff5555 ff55ff ffff55 ffffff")


def uncommon_pcx(data: bytes) -> PIL.Image.Image | None:
    """Open a PCX of which Pillow has no decoder; ``None`` if the file is none.

    Args:
        data: the whole file.

    Raises:
        UnreadForm: of a kind that is not read here either.
        struct.error: it is cut off.
    """
    signature, version, packing, bits, left, top, right, bottom, *_ = _HEAD.unpack_from(data)
    if signature != _SIGNATURE or version > 5 or packing > 1 or right < left or bottom < top:
        return None
    n_planes, stride = _HEAD.unpack_from(data)[-2:]
    width, height = right - left + 1, bottom - top + 1
    if (bits, n_planes) not in {(1, 3), (2, 1), (4, 1), (8, 1), (8, 3), (8, 4)} or 8 * stride < width * bits:
        raise UnreadForm("PCX", f"{bits} bits in {n_planes} planes")
    from ggufvlm.media.decoding.deferred import DeferredImage

    return DeferredImage("PCX", (width, height), lambda: _decoded(data, width, height))


def _decoded(data: bytes, width: int, height: int) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    from ggufvlm.media.decoding.samples import in_strips, unpacked

    _, version, packing, bits, *_, header_colors, n_planes, stride = _HEAD.unpack_from(data)
    wanted = height * n_planes * stride
    body = data[_SIZE:] if not packing else _expanded(data, wanted)
    if len(body) < wanted:
        raise EOFError
    rows = np.frombuffer(body, np.uint8, wanted).reshape(height, n_planes, stride)
    if bits == 8 and n_planes > 1:
        return PIL.Image.fromarray(np.ascontiguousarray(rows[:, :3, :width].transpose(0, 2, 1)))
    if bits == 8:
        return PIL.Image.fromarray(np.ascontiguousarray(rows[:, 0, :width]))
    palette = np.frombuffer((_EARLY_COLORS + _LATE_COLORS) if version == 3 else header_colors, np.uint8).reshape(16, 3)

    def levels(part: slice) -> NDArray[np.uint8]:
        planes = [unpacked(rows[part, plane], width, bits) << np.uint8(plane) for plane in range(n_planes)]
        colors: NDArray[np.uint8] = palette[sum(planes[1:], planes[0])]
        return colors

    return PIL.Image.fromarray(in_strips(width, height, 3, levels))


def _expanded(data: bytes, wanted: int) -> bytes:
    rows, at = bytearray(), _SIZE
    while len(rows) < wanted and at < len(data):
        byte = data[at]
        if byte >= _RUN:
            rows += data[at + 1 : at + 2] * (byte & _COUNT)
            at += 2
        else:
            rows.append(byte)
            at += 1
    return bytes(rows)
