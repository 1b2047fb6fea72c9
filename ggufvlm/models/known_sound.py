"""Each state of a language model's file is checked whole once; later loads stop at its vocabulary."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import split_parts
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.soundness import check_language_model

_RULES = "1"  # raise it when the rules of models/soundness.py become stricter


_BUILT_IN = Path(__file__).parents[1] / "demo"


def are_published(files: ModelFiles) -> bool:
    """Whether both files come with the package, or lie in the Hub's cache under the checksums of the registry."""
    spec = files.spec
    if spec is None or spec.origin != "package":
        return False
    paths = (*split_parts(files.model), files.mmproj)
    if spec.builtin:
        return all(path.parent == _BUILT_IN for path in paths)
    known = {part.sha256 for file in (*spec.files, *spec.projectors) for part in file.parts} - {None}
    # the Hub's cache names a file by its checksum, and links to it from the name that people know
    return all(path.resolve().name in known for path in paths)


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
