"""What a shell offers for a name that is being typed: models, presets, projectors."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

_MOST_FILES_LOOKED_AT = 10_000


def model_names(incomplete: str) -> list[str]:
    """Models of the registry, models on this machine, and GGUF files."""
    return _unless_wrong(lambda: [*_known_models(), *_files(incomplete, is_projector=False)])


def preset_names(incomplete: str) -> list[str]:
    """Presets that come with the program, and the user's own."""
    return _unless_wrong(_presets)


def projector_names(incomplete: str) -> list[str]:
    """Projector files, and folders to look for them in."""
    return _unless_wrong(lambda: _files(incomplete, is_projector=True))


def _known_models() -> list[str]:
    from ggufvlm.models.inventory import inventory
    from ggufvlm.models.registry import load_registry

    registry = load_registry()
    here = [
        installed.name for installed in inventory(registry) if ":" not in installed.name
    ]  # a colon ends a word in bash
    return sorted({*here, *(spec.id for spec in registry)})


def _presets() -> list[str]:
    from ggufvlm.tasks.presets import preset_names as names

    return names()


def _files(incomplete: str, *, is_projector: bool) -> list[str]:
    folder, separator, begun = incomplete.rpartition("/")
    found = []
    with os.scandir(Path(folder + separator or ".").expanduser()) as entries:
        for entry in itertools.islice(entries, _MOST_FILES_LOOKED_AT):
            name = entry.name
            if not name.startswith(begun) or (name.startswith(".") and not begun):
                continue
            if entry.is_dir():
                found.append(f"{folder}{separator}{name}/")
            elif name.lower().endswith(".gguf") and ("mmproj" in name.lower()) == is_projector:
                found.append(f"{folder}{separator}{name}")
    return sorted(found)


def _unless_wrong(find: Callable[[], list[str]]) -> list[str]:
    """What ``find`` finds: a shell can do nothing with an error."""
    from ggufvlm.errors import GGUFVLMError

    try:
        return find()
    except (GGUFVLMError, OSError):
        return []
