"""All gaps of some files, and the images to be asked about: each once, however many files show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ggufvlm.errors import GGUFVLMError
from ggufvlm.tasks.alt.gap import Gap
from ggufvlm.tasks.alt.images import find_image, is_dot, is_remote
from ggufvlm.tasks.alt.text_file import TextFile, read_text_file


@dataclass(slots=True)
class Survey:
    """What has to be done.

    Attributes:
        files: each with its gaps and the images that belong into them.
        problems: one line for each that cannot be done.
        n_remote: images on other computers that were left out.
    """

    files: list[tuple[TextFile, list[tuple[Gap, Path | str]]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    n_remote: int = 0

    @property
    def images(self) -> dict[Path | str, str]:
        """The images, with a place that shows each."""
        found: dict[Path | str, str] = {}
        for file, gaps in self.files:
            for gap, image in gaps:
                found.setdefault(image, f"{file.path}:{file.line_of(gap)}")
        return found


def survey(paths: Iterable[tuple[Path, Path]], *, remote: bool, site: Path | None = None) -> Survey:
    """Read files and find their gaps.

    Args:
        paths: files with their roots.
        remote: whether images on other computers are wanted.
        site: where addresses with a leading slash begin, in place of the roots.
    """
    found = Survey()
    for path, root in paths:
        try:
            file = read_text_file(path, root)
        except GGUFVLMError as error:
            found.problems.append(str(error))
            continue
        gaps = _gaps(file, found, remote=remote, site=site)
        if gaps:
            found.files.append((file, gaps))
    return found


def _gaps(file: TextFile, found: Survey, *, remote: bool, site: Path | None) -> list[tuple[Gap, Path | str]]:
    gaps: list[tuple[Gap, Path | str]] = []
    for gap in file.gaps():
        if is_remote(gap.source) and not remote:
            found.n_remote += 1
            continue
        try:
            image = find_image(gap.source, file, site)
        except GGUFVLMError as error:
            found.problems.append(f"{file.path}:{file.line_of(gap)}: {error}")
            continue
        if not is_dot(image):
            gaps.append((gap, image))
    return gaps
