"""The merged image of Photoshop's files in forms that Pillow refuses: 16 and 32 bits, and PSB.

The format is that of https://www.adobe.com/devnet-apps/photoshop/fileformatashtml/ ("Image Data Section").
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.media.decoding.decode_errors import UnreadForm

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

_HEAD = struct.Struct(">4sH6xHIIHH")
_MODES = {0: "bitmap", 1: "grey", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}
_CHANNELS = {1: ("L", 1), 3: ("RGB", 3), 4: ("CMYK", 4), 7: ("L", 1), 8: ("L", 1), 9: ("LAB", 3)}
"""By Photoshop's mode: Pillow's, and its channels. What comes behind these is no colour."""
_RAW, _RUNS, _ZIP = 0, 1, 2
_COMPRESSION = {3: "ZIP with prediction"}
_PROFILE = 1039  # of the image resources
_MOST_CHANNELS = 56


@dataclass(frozen=True, slots=True)
class _Head:
    """What the header says; ``start`` is where the merged image begins, ``is_large`` tells a PSB."""

    is_large: bool
    n_channels: int
    height: int
    width: int
    bits: int
    mode: int
    start: int
    profile: bytes


def uncommon_psd(data: bytes) -> PIL.Image.Image | None:
    """Open a PSD of 16 or 32 bits, or a PSB; ``None`` if the file is none.

    Args:
        data: the whole file.

    Raises:
        UnreadForm: of a kind that is not read here either.
        EOFError, struct.error: it is cut off.
    """
    signature, version, n_channels, height, width, bits, mode = _HEAD.unpack_from(data)
    if signature != b"8BPS" or version not in (1, 2) or n_channels > _MOST_CHANNELS:
        return None
    if mode not in _CHANNELS or bits not in (8, 16, 32) or n_channels < _CHANNELS[mode][1]:
        raise UnreadForm("PSB" if version == 2 else "PSD", f"{bits} bits, {_MODES.get(mode, f'mode {mode}')}")
    from ggufvlm.media.decoding.deferred import DeferredImage

    start, profile = _sections(data, is_large=version == 2)
    head = _Head(version == 2, n_channels, height, width, bits, mode, start, profile)
    # what is in 32 bits is light itself, and becomes sRGB here
    return DeferredImage("PSD", (width, height), lambda: _decoded(data, head), b"" if bits == 32 else profile)


def _sections(data: bytes, *, is_large: bool) -> tuple[int, bytes]:
    """Where the merged image begins, behind colours, resources and layers; and the ICC profile."""
    at = _HEAD.size
    at += 4 + struct.unpack_from(">I", data, at)[0]
    (n_bytes,) = struct.unpack_from(">I", data, at)
    profile = _profile(data, at + 4, min(at + 4 + n_bytes, len(data)))
    at += 4 + n_bytes
    at += 8 + struct.unpack_from(">Q", data, at)[0] if is_large else 4 + struct.unpack_from(">I", data, at)[0]
    return at, profile


def _profile(data: bytes, at: int, end: int) -> bytes:
    while at + 12 <= end:
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 6 + (data[at + 6] + 2) // 2 * 2
        if at + 4 > end:
            break
        (n_bytes,) = struct.unpack_from(">I", data, at)
        if number == _PROFILE:
            return data[at + 4 : at + 4 + n_bytes]
        at += 4 + n_bytes + n_bytes % 2
    return b""


def _decoded(data: bytes, head: _Head) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    mode, n_colors = _CHANNELS[head.mode]
    has_alpha = mode == "RGB" and head.n_channels == 4  # as Pillow takes it
    n_wanted = n_colors + has_alpha
    planes = _planes(data, head, n_wanted)
    pixels = np.empty((head.height, head.width, n_wanted), np.uint8)
    for channel in range(n_wanted):
        pixels[..., channel] = _levels(planes[channel], head, is_light=channel < n_colors)
    if mode == "CMYK":
        pixels = 255 - pixels
    if mode == "LAB":
        pixels[..., 1:] ^= 0x80  # Pillow's have a sign
    if n_wanted == 1:
        return PIL.Image.fromarray(pixels[..., 0])
    return PIL.Image.frombytes("RGBA" if has_alpha else mode, (head.width, head.height), pixels.tobytes())


def _planes(data: bytes, head: _Head, n_wanted: int) -> list[NDArray[np.uint8]]:
    """The bytes of each channel, ``(height, bytes of a row)``."""
    import numpy as np

    row = head.width * head.bits // 8
    size = row * head.height
    (kind,) = struct.unpack_from(">H", data, head.start)
    start = head.start + 2
    if kind == _RUNS:
        return _runs(data, start, head, n_wanted, row)
    if kind == _ZIP:
        data, start = zlib.decompressobj().decompress(data[start:], size * head.n_channels), 0
    elif kind != _RAW:
        raise UnreadForm("PSD", f"compression {_COMPRESSION.get(kind, kind)}")
    if start + size * n_wanted > len(data):
        raise EOFError
    return [
        np.frombuffer(data, np.uint8, size, start + channel * size).reshape(head.height, row)
        for channel in range(n_wanted)
    ]


def _runs(data: bytes, start: int, head: _Head, n_wanted: int, row: int) -> list[NDArray[np.uint8]]:
    """As :func:`_planes`, of rows that are packed each for itself; their lengths come first."""
    import numpy as np

    n_rows = head.n_channels * head.height
    lengths = np.frombuffer(data, ">u4" if head.is_large else ">u2", n_rows, start).astype(np.int64)
    at = start + n_rows * (4 if head.is_large else 2)
    ends = at + np.cumsum(lengths)
    if ends[n_wanted * head.height - 1] > len(data):
        raise EOFError
    planes = []
    for channel in range(n_wanted):
        plane = np.zeros((head.height, row), np.uint8)
        for y in range(head.height):
            number = channel * head.height + y
            plane[y] = np.frombuffer(_unpacked(data[ends[number] - lengths[number] : ends[number]], row), np.uint8)
        planes.append(plane)
    return planes


def _unpacked(packed: bytes, n_bytes: int) -> bytes:
    """A row of PackBits."""
    row, at = bytearray(), 0
    while at + 1 < len(packed) and len(row) < n_bytes:
        head = packed[at]
        if head < 128:
            row += packed[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            row += packed[at + 1 : at + 2] * (257 - head if head > 128 else 0)
            at += 2 if head > 128 else 1
    return bytes(row[:n_bytes].ljust(n_bytes, b"\0"))


def _levels(plane: NDArray[np.uint8], head: _Head, *, is_light: bool) -> NDArray[np.uint8]:
    """The levels of 8 bits of a channel, ``(height, width)``."""
    import numpy as np

    from ggufvlm.media.decoding.samples import in_strips

    if head.bits == 8:
        return plane
    kind = ">u2" if head.bits == 16 else ">f4"

    def levels(rows: slice) -> NDArray[np.uint8]:
        numbers = np.ascontiguousarray(plane[rows]).view(kind).astype(np.float32)
        if head.bits == 16:
            return (numbers * (255 / 65535) + 0.5).astype(np.uint8)[..., None]
        level = np.clip(np.nan_to_num(numbers), 0, 1)
        if is_light:
            level = np.where(level <= 0.0031308, 12.92 * level, 1.055 * level ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
        return (level * 255 + 0.5).astype(np.uint8)[..., None]

    return in_strips(head.width, head.height, 1, levels)[..., 0]
