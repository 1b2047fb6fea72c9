"""What this build of libmtmd makes of a projector, found out by running it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import mtmd, version
from ggufvlm.llama.chunks import PictureInput
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget


def library_fingerprint() -> str:
    """Changes when another libmtmd is installed or built."""
    path = Path(mtmd._libmtmd._name)
    try:
        found = path.stat()
    except OSError:  # a package manager has taken it away while it runs
        return f"{version} {path}"
    return f"{version} {path} {found.st_size} {found.st_mtime_ns}"


def encode_picture(model: Path, mmproj: Path, width: int, height: int, rgb: bytes) -> NDArray[np.float32]:
    """Embeddings of one picture, on the CPU; of the language model only its shape is loaded.

    Raises:
        ModelError, PairingError: llama.cpp refuses a file, or the pair.
        EngineError: the picture cannot be encoded, or becomes more than one piece.
    """
    skeleton = Model.skeleton(model)
    try:
        config = EngineConfig(mmproj_offload=False, flash_attention="off")
        projector = Projector(mmproj, skeleton, config, TokenBudget(), 1)
    except BaseException:
        skeleton.close()
        raise
    try:
        chunks = projector.tokenize([PictureInput("0", width, height, rgb)], add_special=False)
        try:
            pieces = [chunk for chunk in chunks if chunk.tokens is None]
            if len(pieces) != 1:
                raise EngineError(f"{mmproj.name}: the picture became {len(pieces)} pieces")
            return projector.encode(pieces[0])
        finally:
            chunks.close()
    finally:
        projector.close()
