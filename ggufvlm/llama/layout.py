"""What libmtmd makes of an image of one size: tokens, cells, positions. Known sizes need no projector in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VERSION = 1


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Tokens that libmtmd puts before, between or after an image's tiles."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImagePiece:
    """A tile, or the whole image.

    Attributes:
        n_cells, n_pos: KV cells and positions it takes.
        is_causal: its rows look only at rows before them.
        offsets: int32 [sections, n_cells], its positions when it begins at 0.
        slopes: int32 [sections, n_cells], by how much each grows with the position it begins at: 1, or 0.
    """

    n_cells: int
    n_pos: int
    is_causal: bool
    offsets: NDArray[np.int32]
    slopes: NDArray[np.int32]

    def positions(self, start: int) -> NDArray[np.int32]:
        """Positions [sections, n_cells] when it begins at ``start``."""
        return self.offsets + start * self.slopes


Piece = TextPiece | ImagePiece


@dataclass(frozen=True, slots=True)
class Layout:
    """The pieces of an image, in order, and the length of the rows that it is encoded to."""

    pieces: tuple[Piece, ...]
    n_embd_inp: int

    @property
    def tiles(self) -> tuple[ImagePiece, ...]:
        """The pieces that are encoded."""
        return tuple(piece for piece in self.pieces if isinstance(piece, ImagePiece))


def to_bytes(layout: Layout) -> bytes:
    """A layout as JSON."""
    content = {"version": _VERSION, "n_embd_inp": layout.n_embd_inp, "pieces": [_plain(p) for p in layout.pieces]}
    return json.dumps(content, separators=(",", ":")).encode()


def _plain(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, TextPiece):
        return {"tokens": piece.tokens}
    return {
        "n_cells": piece.n_cells,
        "n_pos": piece.n_pos,
        "is_causal": piece.is_causal,
        "offsets": piece.offsets.tolist(),
        "slopes": piece.slopes.tolist(),
    }


def from_bytes(content: bytes) -> Layout | None:
    """The layout that :func:`to_bytes` wrote; ``None`` if another version wrote it."""
    found = json.loads(content)
    if found.get("version") != _VERSION:
        return None
    return Layout(tuple(_piece(entry) for entry in found["pieces"]), found["n_embd_inp"])


def _piece(entry: dict[str, Any]) -> Piece:
    if "tokens" in entry:
        return TextPiece(tuple(entry["tokens"]))
    return ImagePiece(
        n_cells=entry["n_cells"],
        n_pos=entry["n_pos"],
        is_causal=entry["is_causal"],
        offsets=np.array(entry["offsets"], np.int32),
        slopes=np.array(entry["slopes"], np.int32),
    )
