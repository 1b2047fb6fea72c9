"""Each state of a language model's file is checked whole once; later loads stop at its vocabulary."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import split_parts
from ggufvlm.models.soundness import check_language_model

_RULES = "1"  # raise it when the rules of models/soundness.py become stricter


def check_once(model: Path) -> None:
    """Check the whole header of a language model, tensors included, unless that was done with this state of the file.

    Args:
        model: the file; of a split model its first part.

    Raises:
        ModelError: the header contradicts itself, is damaged, or cannot be read.
    """
    for part in split_parts(model):
        try:
            found = part.stat()
        except OSError as error:
            raise ModelError(f"{part.name}: cannot be read: {error.strerror or error}") from error
        state = f"{part.resolve()} {found.st_size} {found.st_mtime_ns} {found.st_ino}"
        name = f"sound-{hashlib.sha256(os.fsencode(state)).hexdigest()[:32]}"
        if read_note(name) != _RULES:
            check_language_model(read_header(part))
            write_note(name, _RULES)
