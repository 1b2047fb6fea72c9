"""Names of images in exports: relative to the folder that holds them all, and stems for files beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from ggufvlm.errors import UsageError

_UNSAFE = '<>:"/\\|?*'


def file_names(sources: Sequence[str]) -> list[str]:
    """The images' paths from their common folder, with forward slashes; what is no file keeps its name."""
    paths = [PurePath(source) for source in sources if _is_file(source)]
    folders = {str(path.parent) for path in paths}
    try:
        common = os.path.commonpath(folders) if folders else ""
    except ValueError:  # relative and absolute ones, or several drives
        return [PurePath(source).as_posix() if _is_file(source) else source for source in sources]
    return [PurePath(os.path.relpath(s, common or ".")).as_posix() if _is_file(s) else s for s in sources]


def stem(source: str, index: int) -> str:
    """A name for a file about an image, without an ending; ``index`` numbers those that have no name."""
    name = Path(source).name if _is_file(source) else PurePath(urlsplit(source).path).name
    if source.startswith(("data:", "<", "-", "clipboard:")):
        name = ""
    safe = "".join("_" if c in _UNSAFE or not c.isprintable() else c for c in PurePath(name).stem)
    return safe or f"image-{index + 1}"


def check_stems(sources: Sequence[str], what: str) -> None:
    """Make sure that each image has a file of its own.

    Raises:
        UsageError: two would be written to the same one.
    """
    seen: dict[str, str] = {}
    for index, source in enumerate(sources):
        other = seen.setdefault(stem(source, index).casefold(), source)
        if other != source:
            raise UsageError(
                f"{what}: {other} and {source} would be written to the same file",
                hint="rename one, or take them in two runs",
            )


def _is_file(source: str) -> bool:
    return not source.startswith(("data:", "<", "clipboard:")) and source != "-" and "://" not in source[:10]
