"""What a loaded model may use of earlier processes' work, and leaves for later ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.config import EngineConfig
from ggufvlm.store import digest

if TYPE_CHECKING:
    from ggufvlm.engine.embedding_cache import EmbeddingCache
    from ggufvlm.engine.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Everything that decides about the numbers a model computes from a picture.

    Attributes:
        model, mmproj: the files that are really loaded.
        config: devices, attention, cache types.
        encoding: of the projector: token budget, repairs.
        n_embd_inp: length of an embedding.
    """

    model: Path
    mmproj: Path
    config: EngineConfig
    encoding: str
    n_embd_inp: int


def look_ahead(model: Path) -> None:
    """Begin with what takes longest, a walk through the vocabulary, while llama.cpp loads the weights."""
    from ggufvlm.fingerprint import file_fingerprint

    pool = ThreadPoolExecutor(1, "ggufvlm-fingerprint")
    pool.submit(file_fingerprint, model)  # it is remembered; a failure comes again when it is asked for
    pool.shutdown(wait=False)


def open_embeddings(origin: Origin) -> EmbeddingCache:
    """The cache of projector output; in RAM only, if the user wants nothing kept."""
    from ggufvlm.disk_cache import open_store
    from ggufvlm.engine.embedding_cache import DiskEmbeddings, EmbeddingCache

    store = open_store("embeddings") if origin.config.use_cache else None
    if store is None:
        return EmbeddingCache()
    return EmbeddingCache(disk=DiskEmbeddings(store, _of_encoder(origin), origin.n_embd_inp))


def open_snapshots(origin: Origin) -> Snapshots | None:
    """The KV snapshots; ``None`` if the user wants nothing kept."""
    from ggufvlm.disk_cache import open_store
    from ggufvlm.engine.snapshots import Snapshots

    store = open_store("snapshots") if origin.config.use_cache else None
    if store is None:
        return None
    identity = digest(*_of_encoder(origin), *_of_model(origin))
    return Snapshots(store, identity, is_writing=origin.config.n_slots == 1)


def _of_encoder(origin: Origin) -> list[str]:
    from ggufvlm.fingerprint import file_fingerprint
    from ggufvlm.llama.cpu import cpu_flags
    from ggufvlm.llama.probe import library_fingerprint

    config = origin.config
    device = f"projector on a GPU {config.mmproj_offload}, flash attention {config.flash_attention}"
    # a cache folder may be shared by machines whose kernels add up in another order
    processor = " ".join(sorted(cpu_flags() or ()))
    return [file_fingerprint(origin.mmproj), library_fingerprint(), processor, device, origin.encoding]


def _of_model(origin: Origin) -> list[str]:
    from ggufvlm.fingerprint import file_fingerprint

    config = origin.config
    cells = f"{config.cache_type_k} {config.cache_type_v}, layers on the GPU {config.n_gpu_layers}"
    return [file_fingerprint(origin.model), cells]
