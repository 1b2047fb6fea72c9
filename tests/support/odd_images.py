"""Forms of image formats that few programs write: made here, with the pixels that they hold."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 37, 23


@dataclass(frozen=True)
class OddImage:
    """A file, and what it shows.

    Attributes:
        pixels: uint8, ``(height, width, 3)``.
    """

    name: str
    data: bytes
    pixels: Pixels


def noise(seed: int = 1, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Colours with runs of equal ones, so that packed forms have both kinds of packets."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:, width // 3 : width // 2] = pixels[:, width // 3 : width // 3 + 1]
    pixels[height // 2] = pixels[height // 2, 0]
    pixels[height // 2 + 1, : width // 4] = pixels[height // 2, 0]  # a run over the end of a row
    return pixels


def quantized(levels: Pixels, top: int) -> tuple[NDArray[np.uint32], Pixels]:
    """Levels as numbers up to ``top``, and the levels that these stand for."""
    numbers = np.rint(levels.astype(np.float64) * top / 255).astype(np.uint64)
    return numbers.astype(np.uint32), np.floor(numbers * 255 / top + 0.5).astype(np.uint8)


BIT_FIELDS = {
    "444x": (16, (0xF00, 0xF0, 0xF)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "231": (16, (0x0030, 0x000E, 0x0001)),
    "880": (16, (0xFF00, 0x00FF, 0)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "565": (16, (0xF800, 0x07E0, 0x001F)),
    "bgr565": (16, (0x001F, 0x07E0, 0xF800)),
    "111110": (32, (0xFFE00000, 0x001FFC00, 0x000003FF)),
    "101010": (32, (0x3FF00000, 0x000FFC00, 0x000003FF)),
    "61754": (32, (0x0000003F, 0x0001FFC0, 0x3E000000, 0xC0000000)),
    "xbgr": (32, (0x000000FF, 0x0000FF00, 0x00FF0000)),
    "swapped": (32, (0x0000FF00, 0x00FF0000, 0xFF000000)),
    "24 bits": (24, (0x0000FF, 0x00FF00, 0xFF0000)),
}
"""Bits a pixel, and the masks of red, green, blue and alpha."""


def bmp(
    rows: bytes,
    width: int,
    height: int,
    bits: int,
    *,
    kind: int = 0,
    fields: bytes = b"",
    colors: bytes = b"",
    n: int = 0,
) -> bytes:
    """A BMP of an info header; ``fields`` are masks behind it, ``n`` the colours that it claims."""
    start = 54 + len(fields) + len(colors)
    head = struct.pack("<2sIII", b"BM", start + len(rows), 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(rows), 2835, 2835, n, 0)
    return head + info + fields + colors + rows


def padded(rows: NDArray[np.uint8], multiple: int = 4) -> bytes:
    """Rows of bytes, each filled up."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % multiple))).tobytes()


def packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Numbers of a few bits in bytes, row by row."""
    split = (numbers[:, :, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(split.reshape(len(numbers), -1), axis=1)


def bit_fields() -> Iterator[OddImage]:
    for name, (bits, masks) in BIT_FIELDS.items():
        pixels = noise(len(name))
        shown = np.zeros_like(pixels)
        values = np.zeros(pixels.shape[:2], np.uint32)
        for channel, mask in enumerate(masks[:3]):
            if mask:
                shift = (mask & -mask).bit_length() - 1
                numbers, shown[..., channel] = quantized(pixels[..., channel], mask >> shift)
                values |= numbers << np.uint32(shift)
        if len(masks) == 4:
            values |= np.uint32(masks[3])  # all of it opaque
        rows = values.astype("<u4").view(np.uint8).reshape(HEIGHT, WIDTH, 4)[..., : bits // 8].reshape(HEIGHT, -1)
        fields = struct.pack(f"<{len(masks)}I", *masks)
        data = bmp(padded(rows[::-1]), WIDTH, HEIGHT, bits, kind=3 if len(masks) == 3 else 6, fields=fields)
        yield OddImage(f"{name}.bmp", data, shown)


def small_palettes() -> Iterator[OddImage]:
    rng = np.random.default_rng(5)
    for bits, n_colors, claimed in ((2, 4, 4), (2, 3, 3), (8, 5, 5), (8, 256, 300), (4, 16, 20)):
        colors = rng.integers(0, 256, (n_colors, 3), dtype=np.uint8)
        numbers = rng.integers(0, n_colors, (HEIGHT, WIDTH), dtype=np.uint8)
        table = np.pad(colors[:, ::-1], ((0, max(0, claimed - n_colors)), (0, 1))).tobytes()
        rows = padded(packed(numbers, bits)[::-1])
        data = bmp(rows, WIDTH, HEIGHT, bits, colors=table, n=claimed)
        yield OddImage(f"{bits} bits, {claimed} colours.bmp", data, colors[numbers])
    for n_colors, first, bits in ((3, 0, 24), (16, 0, 24), (16, 100, 32), (7, 3, 16), (9, 0, 15)):
        colors = rng.integers(0, 256, (n_colors, 3), dtype=np.uint8)
        numbers = rng.integers(0, n_colors, (HEIGHT, WIDTH), dtype=np.uint8)
        table, shown = tga_colors(colors, bits)
        for is_packed in (False, True):
            rows = (numbers + np.uint8(first))[:, :, None]
            data = tga(rows, 1, 8, is_packed=is_packed, colors=table, first=first, n_colors=n_colors, color_bits=bits)
            form = "packed" if is_packed else "plain"
            yield OddImage(f"{n_colors} colours of {bits} bits, {form}.tga", data, shown[numbers])
    for bits, planes in ((1, 3), (2, 1), (4, 1), (1, 4)):
        colors = rng.integers(0, 256, (16, 3), dtype=np.uint8)
        numbers = rng.integers(0, 1 << bits * planes, (HEIGHT, WIDTH), dtype=np.uint8)
        split = [
            packed((numbers >> np.uint8(plane * bits)) & np.uint8((1 << bits) - 1), bits) for plane in range(planes)
        ]
        yield OddImage(f"{bits} bits, {planes} planes.pcx", pcx(split, bits, colors.tobytes()), colors[numbers])


def tga_colors(colors: Pixels, bits: int) -> tuple[bytes, Pixels]:
    """Colours as TGA writes them, ``(n, 3)``, and what they show."""
    if bits in (15, 16):
        numbers, shown = quantized(colors, 31)
        values = numbers[..., 0] << np.uint32(10) | numbers[..., 1] << np.uint32(5) | numbers[..., 2]
        return values.astype("<u2").tobytes(), shown
    blue_first = colors[..., ::-1]
    if bits == 32:
        blue_first = np.concatenate([blue_first, np.full_like(blue_first[..., :1], 255)], axis=-1)
    return blue_first.tobytes(), colors


def tga(
    rows: NDArray[np.uint8],
    kind: int,
    bits: int,
    *,
    is_packed: bool,
    colors: bytes = b"",
    first: int = 0,
    n_colors: int = 0,
    color_bits: int = 0,
) -> bytes:
    """A TGA whose packets go on in the next row; ``rows`` has bytes of a pixel as last axis."""
    height, width, _ = rows.shape
    flags = 0x20 | (8 if bits == 32 else 0)
    head = struct.pack(
        "<BBBHHBHHHHBB",
        0,
        int(bool(colors)),
        kind + 8 * is_packed,
        first,
        n_colors,
        color_bits,
        0,
        0,
        width,
        height,
        bits,
        flags,
    )
    pixels = [bytes(pixel) for row in rows for pixel in row]
    body = b"".join(tga_packets(pixels)) if is_packed else b"".join(pixels)
    return head + colors + body


def tga_packets(pixels: list[bytes]) -> Iterator[bytes]:
    at = 0
    while at < len(pixels):
        run = 1
        while run < 128 and at + run < len(pixels) and pixels[at + run] == pixels[at]:
            run += 1
        if run > 1:
            yield bytes([0x80 | (run - 1)]) + pixels[at]
        else:
            while at + run < len(pixels) and run < 128 and pixels[at + run] != pixels[at + run - 1]:
                run += 1
            yield bytes([run - 1]) + b"".join(pixels[at : at + run])
        at += run


def true_tgas() -> Iterator[OddImage]:
    pixels = noise(9)
    for bits in (15, 16, 24, 32):
        table, shown = tga_colors(pixels, bits)
        rows = np.frombuffer(table, np.uint8).reshape(HEIGHT, WIDTH, -1)
        for is_packed in (False, True):
            form = "packed" if is_packed else "plain"
            yield OddImage(f"{bits} bits, {form}.tga", tga(rows, 2, bits, is_packed=is_packed), shown)
    yield OddImage("empty alpha.tga", tga(_without_alpha(pixels), 2, 32, is_packed=True), pixels)
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    yield OddImage("grey, packed.tga", tga(pixels[..., :1], 3, 8, is_packed=True), grey)


def _without_alpha(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels[..., ::-1], np.zeros_like(pixels[..., :1])], axis=-1)


def pcx(planes: list[NDArray[np.uint8]], bits: int, colors: bytes) -> bytes:
    """A PCX with 16 colours in its header; ``planes`` are rows of bytes each."""
    stride = planes[0].shape[1] + planes[0].shape[1] % 2
    head = struct.pack("<BBBBHHHHHH", 10, 5, 1, bits, 0, 0, WIDTH - 1, HEIGHT - 1, 72, 72) + colors
    head += struct.pack("<xBHHHH", len(planes), stride, 1, 0, 0)
    body = bytearray()
    for y in range(HEIGHT):
        for plane in planes:
            for byte in bytes(plane[y]).ljust(stride, b"\0"):
                body += bytes([0xC1, byte])
    return head.ljust(128, b"\0") + bytes(body)


def psd(
    pixels: Pixels, bits: int, *, mode: int = 3, is_large: bool = False, pack: Callable[[bytes], bytes] | None = None
) -> bytes:
    """A PSD without layers: RGB, grey or CMYK as ``pixels`` has channels; packed row by row if ``pack`` is given."""
    height, width, n_channels = pixels.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 2 if is_large else 1, n_channels, height, width, bits, mode)
    sections = struct.pack(">II", 0, 0) + (struct.pack(">Q", 0) if is_large else struct.pack(">I", 0))
    if bits == 8:
        samples = pixels
    elif bits == 16:
        samples = (pixels.astype(np.uint16) * 257).astype(">u2")
    else:
        level = pixels / 255
        light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
        samples = light.astype(">f4")
    rows = [samples[y, :, channel].tobytes() for channel in range(n_channels) for y in range(height)]
    if pack is None:
        return head + sections + struct.pack(">H", 0) + b"".join(rows)
    packed_rows = [pack(row) for row in rows]
    lengths = struct.pack(f">{len(rows)}{'I' if is_large else 'H'}", *map(len, packed_rows))
    return head + sections + struct.pack(">H", 1) + lengths + b"".join(packed_rows)


def pack_bits(row: bytes) -> bytes:
    """PackBits, with runs and without."""
    out, at = bytearray(), 0
    while at < len(row):
        run = 1
        while run < 128 and at + run < len(row) and row[at + run] == row[at]:
            run += 1
        if run > 1:
            out += bytes([257 - run, row[at]])
        else:
            while run < 128 and at + run < len(row) and row[at + run] != row[at + run - 1]:
                run += 1
            out += bytes([run - 1]) + row[at : at + run]
        at += run
    return bytes(out)


def psds() -> Iterator[OddImage]:
    pixels = noise(4)
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    for bits in (8, 16, 32):
        for is_large in (False, True):
            for pack in (None, pack_bits):
                form = f"{bits} bits, {'packed' if pack else 'plain'}.{'psb' if is_large else 'psd'}"
                yield OddImage(f"RGB, {form}", psd(pixels, bits, is_large=is_large, pack=pack), pixels)
                data = psd(pixels[..., :1], bits, mode=1, is_large=is_large, pack=pack)
                yield OddImage(f"grey, {form}", data, grey)


def odd_images() -> list[OddImage]:
    """All of them."""
    return [*bit_fields(), *small_palettes(), *true_tgas(), *psds()]
