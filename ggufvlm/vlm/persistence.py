"""What a loaded model may use of earlier processes' work, and leaves for later ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.cache.store import digest
from ggufvlm.config import EngineConfig

if TYPE_CHECKING:
    from ggufvlm.cache.store import Store
    from ggufvlm.engine.embedding_cache import DiskEmbeddings, EmbeddingCache
    from ggufvlm.engine.snapshots import Snapshots
    from ggufvlm.llama.layout import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Everything that decides about the numbers a model computes from an image.

    Attributes:
        model, mmproj: the files that are really loaded.
        config: devices, attention, cache types.
        encoding: of the projector: token budget, repairs.
    """

    model: Path
    mmproj: Path
    config: EngineConfig
    encoding: str


class KnownImages:
    """What earlier processes left about images: the layout of each size, and embeddings.

    Args:
        store: where that lies; ``None`` if the user wants nothing kept.
        identity: of all that decides about it, but for the image.
    """

    def __init__(self, store: Store | None, identity: list[str]) -> None:
        self._store = store
        self._identity = identity
        self._layouts: dict[tuple[int, int], Layout] = {}

    def get(self, width: int, height: int) -> Layout | None:
        """The layout of a size, if it is known."""
        from ggufvlm.llama.layout import from_bytes

        if (width, height) not in self._layouts:
            entry = self._store.get(self._key(width, height)) if self._store is not None else None
            layout = None if entry is None else from_bytes(bytes(entry.payload))
            if layout is None:
                return None
            self._layouts[width, height] = layout
        return self._layouts[width, height]

    def put(self, width: int, height: int, layout: Layout) -> None:
        """Keep the layout of a size.

        Args:
            width, height: pixels as the projector gets them.
            layout: the pieces that such an image becomes.
        """
        from ggufvlm.llama.layout import to_bytes

        self._layouts[width, height] = layout
        if self._store is not None:
            self._store.put(self._key(width, height), {}, [to_bytes(layout)])

    def _key(self, width: int, height: int) -> str:
        return digest("layout", *self._identity, f"{width}x{height}")

    def embeddings(self, n_embd_inp: int) -> EmbeddingCache:
        """The cache of projector output; in RAM only, if nothing is to be kept."""
        from ggufvlm.engine.embedding_cache import EmbeddingCache

        return EmbeddingCache(disk=self._disk(n_embd_inp))

    def _disk(self, n_embd_inp: int) -> DiskEmbeddings | None:
        from ggufvlm.engine.embedding_cache import DiskEmbeddings

        return None if self._store is None else DiskEmbeddings(self._store, self._identity, n_embd_inp)

    def has(self, image_id: str, width: int, height: int) -> bool:
        """Whether an image needs no projector, because its layout and embeddings are known.

        Args:
            image_id: identity of the pixels as the projector gets them.
            width, height: their size.
        """
        layout = self.get(width, height)
        disk = None if layout is None else self._disk(layout.n_embd_inp)
        if layout is None or disk is None:
            return False
        return all(disk.has(image_id, ordinal, tile.n_cells) for ordinal, tile in enumerate(layout.tiles))


def look_ahead(model: Path) -> None:
    """Begin with what takes longest, a walk through the vocabulary, while llama.cpp loads the weights."""
    from ggufvlm.gguf.fingerprint import file_fingerprint

    pool = ThreadPoolExecutor(1, "ggufvlm-fingerprint")
    pool.submit(file_fingerprint, model)  # it is remembered; a failure comes again when it is asked for
    pool.shutdown(wait=False)


def open_images(origin: Origin) -> KnownImages:
    """What earlier processes left about images, for this model and these settings."""
    from ggufvlm.cache.limits import open_store

    store = open_store("embeddings") if origin.config.use_cache else None
    return KnownImages(store, [] if store is None else _of_encoder(origin))


def open_snapshots(origin: Origin) -> Snapshots | None:
    """The KV snapshots on disk of this model; ``None`` if the user wants nothing kept."""
    from ggufvlm.cache.limits import open_store
    from ggufvlm.engine.snapshots import Snapshots

    store = open_store("snapshots") if origin.config.use_cache else None
    if store is None:
        return None
    identity = digest(*_of_encoder(origin), *_of_model(origin))
    return Snapshots(store, identity, is_writing=origin.config.n_slots == 1)


def _of_encoder(origin: Origin) -> list[str]:
    from ggufvlm.gguf.fingerprint import file_fingerprint
    from ggufvlm.hardware.cpu import cpu_flags
    from ggufvlm.llama.probe import library_fingerprint

    config = origin.config
    device = f"projector on a GPU {config.mmproj_offload}, flash attention {config.flash_attention}"
    # a cache folder may be shared by machines whose kernels add up in another order
    processor = " ".join(sorted(cpu_flags() or ()))
    return [file_fingerprint(origin.mmproj), library_fingerprint(), processor, device, origin.encoding]


def _of_model(origin: Origin) -> list[str]:
    from ggufvlm.gguf.fingerprint import file_fingerprint

    config = origin.config
    cells = f"{config.cache_type_k} {config.cache_type_v}, layers on the GPU {config.n_gpu_layers}"
    return [file_fingerprint(origin.model), cells]
