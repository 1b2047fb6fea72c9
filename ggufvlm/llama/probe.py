"""What this build of libmtmd makes of a projector, found out by running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import mtmd, version
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.llama.chunks import ImageInput
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget


def library_fingerprint() -> str:
    """Changes when another libmtmd is installed or built."""
    path = Path(mtmd._libmtmd._name)  # noqa: SLF001 - the binding offers no other way
    try:
        found = path.stat()
    except OSError:  # a package manager has taken it away while it runs
        return f"{version} {path}"
    return f"{version} {path} {found.st_size} {found.st_mtime_ns}"


def encode_image(model: Path, mmproj: Path, width: int, height: int, rgb: bytes) -> NDArray[np.float32]:
    """Embeddings of one image, on the CPU; of the language model only its shape is loaded.

    Args:
        model: the language model's file.
        mmproj: the projector's.
        width, height: of the image, in pixels.
        rgb: its pixels, 3 bytes each, row by row.

    Raises:
        ModelError, PairingError: llama.cpp refuses a file, or the pair.
        EngineError: the image cannot be encoded, or becomes more than one piece.
    """
    config = EngineConfig(mmproj_offload=False, flash_attention="off")
    with encoder(model, mmproj, ImageInput("0", width, height, rgb), config) as (encode, n_pieces):
        if n_pieces != 1:
            raise EngineError(f"{mmproj.name}: the image became {n_pieces} pieces")
        return encode()


@contextmanager
def encoder(
    model: Path,
    mmproj: Path,
    image: ImageInput,
    config: EngineConfig,
    *,
    n_threads: int = 1,
    cancel: CancelToken | None = None,
) -> Iterator[tuple[Callable[[], NDArray[np.float32]], int]]:
    """A projector, loaded with the shape of a language model, that encodes one image as often as it is called.

    Args:
        model, mmproj: the files.
        image: with its pixels.
        config: flash attention, and whether a GPU may be used.
        n_threads: CPU threads.
        cancel: stops loading and encoding.

    Returns:
        A function that gives the embeddings [n_cells, n_embd_inp] of the image's first piece, and how many there are.

    Raises:
        ModelError, PairingError: llama.cpp refuses a file, or the pair.
        EngineError: the image cannot be encoded.
        LoadAborted: ``cancel`` was cancelled; the function raises it too.
    """

    cancel = cancel or CancelToken()

    def check(_layer: int) -> None:
        cancel.check("trying the projector")

    check(0)
    skeleton = Model.skeleton(model)
    try:
        projector = Projector(mmproj, skeleton, config, TokenBudget(), n_threads, cancel=cancel)  # closes the skeleton
    except BaseException:
        skeleton.close()
        raise
    try:
        chunks = projector.tokenize([image], add_special=False)
        try:
            pieces = [chunk for chunk in chunks if chunk.tokens is None]
            if not pieces:
                raise EngineError(f"{mmproj.name}: the image became no piece at all")
            yield lambda: projector.encode(pieces[0], check), len(pieces)
        finally:
            chunks.close()
    finally:
        projector.close()
