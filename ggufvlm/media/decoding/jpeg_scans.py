"""Whether a JPEG holds all of its image: libjpeg makes grey of what is missing, and its warning does not come through.

What decides is the coded data and not what it looks like, as a photo may well be grey below. If more data is put behind
it and the image stays as it was, it was whole; else something was left to decode. Markers as in ITU-T T.81, B.1.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode_errors import DAMAGE
from ggufvlm.media.decoding.plugins import open_image

if TYPE_CHECKING:
    import PIL.Image

START, END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # without those that stand within coded data
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended and progressive, with codes of Huffman
_PROGRESSIVE, _TABLES, _SCAN = 0xC2, 0xC4, 0xDA
_MOST_SEGMENTS = 10_000
_MOST_COMPONENTS, _COEFFICIENTS = 4, 64
_UNSENT = 14  # more than any scan leaves out
_MANY_ZEROS = 64  # bytes that were to be downloaded; fewer may be the codes of blocks that are all alike
_GREY = range(126, 130)  # what becomes of nothing, in any colour space
_UNSEEN, _MANY = 100, 16  # blocks; one of so many may be lost: some cameras leave out the last bits


@dataclass(frozen=True, slots=True)
class JpegScans:
    """The coded data of a JPEG.

    Attributes:
        data: the file, with an end marker where it had none.
        start, end: of the coded data of the last scan.
        had_end: whether there was an end marker.
        frame: the marker that says how the image is coded.
        block: width and height in pixels of what is coded together.
        precisions: for each component the bits that are still missing of each coefficient, when all scans are read.
        n_scans: how many there are.
    """

    data: bytes
    start: int
    end: int
    had_end: bool
    frame: int
    block: tuple[int, int]
    precisions: tuple[tuple[int, ...], ...]
    n_scans: int

    def are_cut_off(self, image: PIL.Image.Image) -> bool:
        """Whether some of the image is not in the file, more than a hundredth of a large one.

        Args:
            image: as loaded from :attr:`data`.
        """
        if any(map(any, self.precisions)):
            return True
        if not self._may_be_cut_off(image):
            return False
        columns, rows = (-(-side // block) for side, block in zip(image.size, self.block, strict=True))
        return self._n_lost(columns, rows) > max(columns * rows // _UNSEEN, columns * rows >= _MANY)

    def _may_be_cut_off(self, image: PIL.Image.Image) -> bool:
        """Without decoding it again. What a progressive one lacks may be a little sharpness anywhere."""
        if self.frame == _PROGRESSIVE or self.n_scans > 1 or not self.had_end:
            return True
        corner = image.crop((image.width - 1, image.height - 1, image.width, image.height))
        if corner.mode == "RGB":  # colours may run over from the block above, brightness does not
            corner = corner.convert("L")
        return all(level in _GREY for level in corner.tobytes())

    def _n_lost(self, columns: int, rows: int) -> int:
        """How many blocks, of so many columns and rows, lie behind the first that is another when more data follows."""
        from PIL.ImageChops import difference

        scale = 2 if self.frame == _PROGRESSIVE else 8  # of the others blocks are lost, and one pixel of each will tell
        longer = self.data[: self.end].rstrip(b"\xff") + self._more() + END
        try:
            with _small(self.data, scale) as seen, _small(longer, scale) as other:
                changed = difference(seen, other).getbbox(alpha_only=False)
        except (ImageError, *DAMAGE):
            return 0
        if changed is None:
            return 0
        # at the edges of a block colours run over by a pixel
        column, row = (int(place * scale / block + 0.5) for place, block in zip(changed, self.block, strict=False))
        return columns * (rows - row) if row < rows - 1 else columns - column

    def _more(self) -> bytes:
        """Coded data of any image; where there are restart markers it goes on behind the next of them."""
        generator, markers = random.Random(0), [bytes((0xFF, 0xD0 + number)) for number in range(8)]
        last = max(reversed(range(8)), key=lambda number: self.data.rfind(markers[number], self.start, self.end))
        restarts = (b"", *(markers[(last + 1 + i) % 8] for i in range(8)))
        return b"".join(restart + generator.randbytes(1024).replace(b"\xff", b"") for restart in restarts)


def jpeg_scans(data: bytes) -> JpegScans | None:
    """Look at the markers of a file; ``None`` if it is no JPEG, or of a kind of which nothing can be told."""
    if not data.startswith(START):
        return None
    frame, n_scans = b"", 0
    precisions: dict[int, list[int]] = {}
    start, end, had_end, zeros_are_code = 0, len(data), False, True
    for number, (code, at) in enumerate(_markers(data)):
        body = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if code in (START[1], END[1]):
            end, had_end = at, code == END[1]
            break
        if code in _FRAMES and len(body) > 6 and len(body) >= 6 + 3 * body[5]:
            frame = bytes((code,)) + body
            precisions = {component: [_UNSENT] * _COEFFICIENTS for component in body[6 : 6 + 3 * body[5] : 3]}
        elif code == _SCAN and len(body) >= 4:
            first, last, bits = body[-3:] if frame[:1] == bytes((_PROGRESSIVE,)) else (0, _COEFFICIENTS - 1, 0)
            n_scans, start = n_scans + 1, at + 4 + len(body)
            for component in precisions.keys() & body[1 : 2 * body[0] + 1 : 2]:
                sent = range(first, min(last + 1, _COEFFICIENTS))
                precisions[component][first : sent.stop] = [bits & 15] * len(sent)
        elif code == _TABLES:
            zeros_are_code &= _end_blocks_with_zeros(body)
        if number > _MOST_SEGMENTS:
            return None
    if not n_scans or not 0 < len(precisions) <= _MOST_COMPONENTS:
        return None
    if not had_end:
        coded = data[start:end].rstrip(b"\0")
        if zeros_are_code or end - start - len(coded) < _MANY_ZEROS:
            coded = data[start:end]
        end = start + len(coded.rstrip(b"\xff"))
        data = data[:end] + END
    samplings = frame[8 : 8 + 3 * len(precisions) : 3] if len(precisions) > 1 else b"\x11"
    block = (8 * max(1, *(byte >> 4 for byte in samplings)), 8 * max(1, *(byte & 15 for byte in samplings)))
    return JpegScans(data, start, end, had_end, frame[0], block, tuple(map(tuple, precisions.values())), n_scans)


def _end_blocks_with_zeros(tables: bytes) -> bool:
    """Whether in all tables but those for the first coefficients zeros alone code the end of a block, or of several."""
    at = 0
    while at + 17 < len(tables):
        if tables[at] >> 4 and tables[at + 17] & 15:
            return False
        at += 17 + sum(tables[at + 1 : at + 17])
    return True


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker with its place, coded data and the contents of segments aside."""
    at = len(START)
    while found := _MARKER.search(data, at):
        at = found.start()
        yield data[at + 1], at
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))


def _small(data: bytes, scale: int) -> PIL.Image.Image:
    image = open_image(data, "")
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image
