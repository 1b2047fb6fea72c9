"""KV snapshots: the cells of a prompt up to the end of its last image, on disk for later processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ggufvlm.engine.sequence import ImageSegment, Segment, TextSegment, count_cells

if TYPE_CHECKING:
    from ggufvlm.cache.store import Store

MAX_BYTES = 160 * 2**20
"""Qwen2-VL-2B needs 28 kB a cell, LLaVA-1.5-7B 524 kB: there the embedding cache has to do."""
_DISK_SPEED = 400e6  # bytes a second: a plain SSD, written once and read once


def image_ends(segments: Sequence[Segment]) -> list[int]:
    """How many segments there are up to the end of each image (all of its tiles), last image first."""
    ends = []
    for index, segment in enumerate(segments):
        following = segments[index + 1 :]
        if isinstance(segment, ImageSegment) and not any(
            isinstance(later, ImageSegment) and later.image_id == segment.image_id and later.ordinal > segment.ordinal
            for later in following
        ):
            ends.append(index + 1)
    return ends[::-1]


def pays(n_bytes: int, seconds: float) -> bool:
    """Whether a snapshot of that size is worth keeping, when computing its cells took so long."""
    return n_bytes <= MAX_BYTES and 2 * n_bytes / _DISK_SPEED < seconds


class Snapshots:
    """Snapshots of one model with one projector under one set of settings.

    Args:
        store: where they lie.
        identity: fingerprint of everything that has to match, since llama.cpp checks little of it: model, projector,
            library, cache types, flash attention, layers on the GPU.
        is_writing: whether new ones are made; many images in a row would only push each other out.
    """

    def __init__(self, store: Store, identity: str, *, is_writing: bool = True) -> None:
        self.is_writing = is_writing
        self._store = store
        self._identity = identity
        self._writer = ThreadPoolExecutor(1, "ggufvlm-snapshots")

    def find(self, wanted: Sequence[Segment], n_known: int) -> tuple[list[Segment], memoryview] | None:
        """The snapshot that holds most of a prompt, if that is more than ``n_known`` cells: its segments and state."""
        for end in image_ends(wanted):
            prefix = list(wanted[:end])
            if count_cells(prefix) <= n_known:
                return None
            entry = self._store.get(self._key(prefix))
            if entry is not None:
                return prefix, memoryview(entry.payload)
        return None

    def has(self, prefix: Sequence[Segment]) -> bool:
        """Whether there is one of exactly these segments."""
        return self._store.contains(self._key(prefix))

    def save(self, prefix: Sequence[Segment], state: bytes) -> None:
        """Keep the state of these segments; it is written while the answer goes on."""
        self._writer.submit(self._store.put, self._key(prefix), {"n_cells": count_cells(prefix)}, [state])

    def drop(self, prefix: Sequence[Segment]) -> None:
        """Forget one that llama.cpp refused."""
        self._store.remove(self._key(prefix))

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    def _key(self, prefix: Sequence[Segment]) -> str:
        digest = hashlib.sha256(self._identity.encode())
        for segment in prefix:
            if isinstance(segment, TextSegment):
                digest.update(f"\ntext {segment.tokens}".encode())
            else:
                fields = (segment.image_id, segment.ordinal, segment.n_cells, segment.n_pos)
                digest.update(f"\npicture {fields}".encode())
        return digest.hexdigest()
