"""A projector in another type, made once and kept in the cache: converted, compared with the original, then named.

A derived file has its name only when it is whole, on the disk and found to be as good as the original, so that a look
at the name is enough from then on. One that was found wanting leaves a note and is never made again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import EngineError, ModelError
from ggufvlm.files import replacing
from ggufvlm.gguf.convert import converted_header, write_converted
from ggufvlm.gguf.header import read_header
from ggufvlm.hardware.cpu import default_threads
from ggufvlm.llama.cancellation import CancelToken, LoadAborted
from ggufvlm.projectors.files import content_id, is_whole, projectors_folder, sweep
from ggufvlm.projectors.policy import DerivedType, is_alike
from ggufvlm.projectors.repair import Repair, derived_projector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_VERSION = 1  # raise it when the same source gives another file
_SIDE = 112  # pixels: 16 tokens of Qwen2-VL; towers with a size of their own scale it
_MARGIN = 1 << 30  # bytes left free on the disk
_REPAIRED = 0.2
_CONVERTED, _LOADED, _ENCODED, _LOADED_AGAIN = 0.5, 0.65, 0.75, 0.9  # fractions of the whole work that are done then


class _WantingError(ModelError):
    """The derived projector sees something else than the original, or nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivationRequest:
    """What is to be derived from what.

    Attributes:
        model: the language model, for its shape.
        source: the projector as it was published.
        repair: what is to be mended of it as well.
        type: of its matrices.
    """

    model: Path
    source: Path
    repair: Repair
    type: DerivedType

    @property
    def target(self) -> Path:
        """Where the derived file belongs.

        Raises:
            ModelError: the source cannot be read, or the cache not be written.
        """
        repair = f"-{self.repair.tag}" if self.repair else ""
        return projectors_folder() / f"{content_id(self.source)}{repair}-{self.type}-v{_VERSION}.gguf"


def find_derived(request: DerivationRequest) -> Path | None:
    """The derived projector if it has been made.

    Raises:
        ModelError: the source cannot be read, or the cache not be written.
    """
    return target if is_whole(target := request.target) else None


def derive(
    request: DerivationRequest,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    cancel: CancelToken | None = None,
) -> Path | None:
    """The derived projector, made now if need be; None if that cannot be done, which a log line explains.

    Args:
        request: what to derive.
        on_progress: takes the finished fraction of the work, 0 to 1.
        cancel: stops, and leaves nothing.

    Raises:
        LoadAborted: ``cancel`` was cancelled.
    """
    try:
        target = request.target
        if is_whole(target):
            return target
        note = f"wanting-{target.stem}"
        if read_note(note) is not None:
            return None
        sweep(target.parent)
        try:
            _make(request, target, on_progress, cancel or CancelToken())
        except _WantingError as error:
            write_note(note, str(error).encode("ascii", "replace").decode())
            raise
    except (ModelError, OSError) as error:
        if not isinstance(error, _WantingError) and is_whole(target):
            return target  # another process was faster, and Windows does not replace a file that is open
        logger.warning("no %s projector is derived from %s: %s", request.type, request.source.name, error)
        return None
    return target


def _make(request: DerivationRequest, target: Path, on_progress: Callable[[float], None], cancel: CancelToken) -> None:
    begun = 0.0

    def watch_repair(done: int, total: int) -> None:
        nonlocal begun
        cancel.check("preparing the projector")
        begun = _REPAIRED * done / total
        on_progress(begun)

    def watch(done: int, total: int) -> None:
        cancel.check("preparing the projector")
        on_progress(begun + (_CONVERTED - begun) * done / total)

    on_progress(0.0)
    source = derived_projector(request.source, request.repair, watch_repair)
    header = read_header(source)
    needed = sum(info.n_bytes or 0 for info in converted_header(header, request.type).tensors.values())
    if shutil.disk_usage(target.parent).free < needed + _MARGIN:
        raise ModelError(f"{target.parent}: too little room")
    with replacing(target) as partial, ThreadPoolExecutor(1, "ggufvlm-sync") as pool, partial.open("wb") as file:
        write_converted(file, source, header, request.type, default_threads(), watch)
        file.flush()
        synced = pool.submit(os.fsync, file.fileno())  # the disk writes while the CPU compares
        _compare(request, source, partial, on_progress, cancel)
        synced.result()  # else a power cut may leave a file of the right size with zeros in it
    on_progress(1.0)


def _compare(
    request: DerivationRequest, source: Path, derived: Path, on_progress: Callable[[float], None], cancel: CancelToken
) -> None:
    """Raise a _WantingError unless both projectors see the same in the trial image."""
    try:
        on_progress(_CONVERTED)
        before = _encode(request.model, source, cancel, lambda: on_progress(_LOADED))
        on_progress(_ENCODED)
        after = _encode(request.model, derived, cancel, lambda: on_progress(_LOADED_AGAIN))
    except LoadAborted:
        raise
    except (EngineError, ModelError) as error:
        raise _WantingError(str(error)) from error
    mean, minimum = cosines(before, after)
    if not is_alike(mean, minimum):
        raise _WantingError(f"it sees something else: rows have a cosine of {mean:.4f}, {minimum:.4f} at worst")
    logger.info("%s: rows in %s have a cosine of %.6f, %.6f at worst", request.source.name, request.type, mean, minimum)


def _encode(model: Path, mmproj: Path, cancel: CancelToken, on_loaded: Callable[[], None]) -> NDArray[np.float32]:
    from ggufvlm.config import EngineConfig
    from ggufvlm.llama.chunks import ImageInput
    from ggufvlm.llama.probe import encoder

    image = ImageInput("0", _SIDE, _SIDE, trial_image())
    config = EngineConfig(mmproj_offload=False)
    with encoder(model, mmproj, image, config, n_threads=default_threads(), cancel=cancel) as (encode, _):
        on_loaded()
        return encode()


def trial_image() -> bytes:
    """RGB of 112 x 112 pixels: 16 coloured blocks with noise on them, so that rows differ and none is plain."""
    import numpy as np

    random = np.random.default_rng(7)
    blocks = np.kron(random.integers(0, 256, (4, 4, 3)), np.ones((_SIDE // 4, _SIDE // 4, 1), np.int64))
    noisy = blocks + random.integers(-40, 41, blocks.shape)
    return noisy.clip(0, 255).astype(np.uint8).tobytes()


def cosines(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and smallest cosine between the rows of two float32 arrays [n_rows, width]; 0 if they cannot be compared."""
    import numpy as np

    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0, 0.0
    old, new = before.astype(np.float64), after.astype(np.float64)
    lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
    found = (old * new).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)  # a row of zeros is like no other
    return float(found.mean()), float(found.min())
