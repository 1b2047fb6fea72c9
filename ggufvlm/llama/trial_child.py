"""The process of :mod:`.trial`: does once, on the CPU, what the engine does with a pair, and may crash."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.workers.parent import Parent, run_child

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ggufvlm.llama.projector import Projector
    from ggufvlm.llama.trial import Pair

_CPU_SECONDS = 120  # what computes for longer has no end
_ENCODING_SECONDS = 0.5  # all layers are built alike, and a large tower takes long
_SIZES = ((56, 56), (300, 200))  # pixels: a tower may be built in one way for small images and in another for larger
_N_CTX, _N_ROWS = 256, 2
_SHARE_OF_MEMORY = 0.5  # a model that takes more would push everything else out of memory to be computed once


class _EnoughEncoded(Exception):  # noqa: N818 - no error
    """The time for encoding is over."""


def main() -> None:
    """Try one pair and say that it was survived, or why it is refused."""
    run_child(_try)


def _try(parent: Parent) -> None:
    _limit()  # before llama.cpp is imported, which the message does
    pair: Pair = parent.receive()
    parent.listen(lambda _message: None)  # ends this process with its parent
    with ThreadPoolExecutor(1) as pool:
        positions = pool.submit(_try_projector, pair.model, pair.mmproj, pair.n_threads)
        _try_model(pair.model, positions.result, pair.n_threads)
    parent.send(True)


def _limit() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a driver takes long to start, and nothing is computed there
    if sys.platform == "win32":
        return
    import resource

    for kind, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, _CPU_SECONDS)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wanted if hard < 0 else min(wanted, hard), hard))


def _try_projector(model: Path, mmproj: Path, n_threads: int) -> NDArray[np.int32]:
    """Encode some images, and return the positions [sections, rows] of the first rows of the last one."""
    from ggufvlm.config import EngineConfig
    from ggufvlm.llama.model import Model
    from ggufvlm.llama.projector import Projector, TokenBudget

    config = EngineConfig(mmproj_offload=False)
    projector = Projector(mmproj, Model.skeleton(model), config, TokenBudget(), n_threads)
    for size in _SIZES:
        positions = _encode(projector, *size)
    return positions


def _encode(projector: Projector, width: int, height: int) -> NDArray[np.int32]:
    from ggufvlm.llama.chunks import ImageInput

    until = time.monotonic() + _ENCODING_SECONDS

    def look(_layer: int) -> None:
        if time.monotonic() > until:
            raise _EnoughEncoded

    image = ImageInput("0", width, height, bytes(3 * width * height))
    pieces = [chunk for chunk in projector.tokenize([image], add_special=False) if chunk.tokens is None]
    for piece in pieces:
        try:
            projector.encode(piece, look)
        except _EnoughEncoded:
            break
    return projector.positions(pieces[0], _N_ROWS)[:, :_N_ROWS]


def _try_model(path: Path, image_positions: Callable[[], NDArray[np.int32]], n_threads: int) -> None:
    """Build a context, and compute a step of text and one of an image where that does not take too much memory."""
    import numpy as np

    from ggufvlm.config import EngineConfig
    from ggufvlm.gguf.names import split_parts
    from ggufvlm.hardware.system import available_memory
    from ggufvlm.llama.context import AbortFlag, Context, ContextShape
    from ggufvlm.llama.model import Model

    available = available_memory()
    size = sum(part.stat().st_size for part in split_parts(path))
    computes = available is not None and size < _SHARE_OF_MEMORY * available
    model = Model.load(path, n_gpu_layers=0) if computes else Model.skeleton(path)
    shape = ContextShape(n_ctx=_N_CTX, n_ubatch=_N_ROWS, n_threads=n_threads)
    context = Context(model, EngineConfig(), AbortFlag(), shape)
    positions = image_positions()
    if not computes:
        return
    context.decode_tokens([0] * _N_ROWS, range(_N_ROWS), [0] * _N_ROWS, [False] * (_N_ROWS - 1) + [True])
    rows = np.zeros((positions.shape[1], model.n_embd_inp), np.float32)
    context.decode_embeddings(rows, positions, 0, causal=True)
