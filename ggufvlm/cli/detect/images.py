"""``--save``: copies of the images with their boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.cache.written import remember
from ggufvlm.cli.detect.output import check_place
from ggufvlm.errors import OutputError, UsageError
from ggufvlm.grounding.names import stem

if TYPE_CHECKING:
    from ggufvlm.grounding.detections import Detections
    from ggufvlm.media import Image

_KEPT = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def drawn_paths(save: Path, sources: Sequence[str]) -> list[Path]:
    """Where the copy of each image goes: the file that was named, or files in the folder that was.

    Raises:
        UsageError: one file for several images, two images for one file, or an ending that no image has.
        OutputError: nothing can be written there.
    """
    check_place(save)
    is_folder = save.is_dir() or not save.suffix
    if not is_folder and save.suffix.lower() not in _KEPT:
        hint = f"an image ends in {', '.join(_KEPT)}; a folder of this name has to be there"
        raise UsageError(f"--save {save}: no ending of an image", hint=hint)
    if not is_folder and len(sources) > 1:
        raise UsageError(f"--save {save}: several images need a folder", hint=f"--save {save.with_suffix('')}")
    paths = [save / _name(source, index) for index, source in enumerate(sources)] if is_folder else [save]
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise UsageError(f"--save: two images would be written to {path}", hint="take them in two runs")
        seen.add(path)
    return paths


def _name(source: str, index: int) -> str:
    ending = Path(source).suffix.lower()
    return stem(source, index) + (ending if ending in _KEPT else ".png")


def save_drawn(image: Image, found: Detections, path: Path) -> None:
    """Draw what was found, and write it.

    Raises:
        OutputError, UsageError: it cannot be written.
    """
    from ggufvlm.media import save
    from ggufvlm.media.pixels.draw import Outline, draw_outlines

    outlines = [Outline(box.label, box.x0, box.y0, box.x1, box.y1) for box in found.boxes]
    outlines += [Outline(point.label, point.x, point.y, point.x, point.y) for point in found.points]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made ({error.strerror or error})") from error
    save(draw_outlines(image, outlines), path)
    remember(path)
