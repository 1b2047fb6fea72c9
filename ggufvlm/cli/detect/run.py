"""One run of ``ggufvlm detect``: load, look at each image, hand on what was found, say what a user should know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.cli.ask.ask import Complaints, warn_about_end
from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.shared import ModelOptions, OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.families.registry import find_convention
from ggufvlm.grounding.families import convention_of, convention_of_entry, with_enough_tokens
from ggufvlm.media import load_single, name_of
from ggufvlm.models.registry import load_registry
from ggufvlm.models.resolve import default_model, is_path, parse_name

if TYPE_CHECKING:
    from ggufvlm.cli.detect.output import BoxWriter
    from ggufvlm.config import EngineConfig, SamplingSettings
    from ggufvlm.families.convention import Convention
    from ggufvlm.grounding.detections import Detections
    from ggufvlm.media import Image
    from ggufvlm.models.files import ModelFiles
    from ggufvlm.tasks.detect import Detector, Found
    from ggufvlm.vlm.vlm import VLM

_SLOTS = 4
_MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for, and where. ``prompt`` and ``system`` are texts, no longer names of files."""

    sources: list[str]
    labels: tuple[str, ...]
    points: bool
    convention: str | None
    prompt: str | None
    system: str | None
    settings: SamplingSettings


@dataclass(slots=True)
class DetectRun:
    """The run, and what came of it so far.

    Attributes:
        paths: where copies of the images with boxes go; ``None``: nowhere.
        complaints: about images that could not be read or asked about, if there are several images.
        n_found: images that were asked about.
        was_cut: whether the repetition guard ended an answer.
        say: shows a line for the user, above the progress while there is any.
    """

    search: Search
    output: OutputOptions
    writer: BoxWriter
    paths: list[Path] | None
    say: Callable[[str], None] = console.say
    complaints: Complaints = field(init=False)
    n_found: int = 0
    was_cut: bool = False

    def __post_init__(self) -> None:
        self.complaints = Complaints(lambda text: self.say(text))

    def run(self, model: ModelOptions, config: EngineConfig) -> None:
        """Do it all.

        Raises:
            KeyboardInterrupt: after what was found is written.
            GGUFVLMError: the only image failed, the model could not be loaded, a result could not be written.
        """
        try:
            self._run(model, config)
        except KeyboardInterrupt:
            self._finish()
            raise
        self._finish()

    def _finish(self) -> None:
        if self.n_found:
            self.writer.finish()

    def _run(self, model: ModelOptions, config: EngineConfig) -> None:
        files, convention = find_able_model(model, self.search.convention, self.output)
        config = self._enough(config, files, convention)
        if not self.output.quiet and _is_guess(files, self.search.convention):
            console.say(f"note: nobody has checked how {files.name} writes boxes; --save shows whether they fit")
        with (
            console.Spinner(self.output) as spinner,
            open_model(files, config, spinner, raw=model.raw, waits_for_images=True) as opening,
        ):
            self.say = spinner.say
            sources = self.search.sources
            # a single image is read while the model loads: if it is known, no projector is needed
            single = [load_single(source) for source in sources] if len(sources) == 1 else []
            vlm = opening.ready(single)
            images: Sequence[str | Image] = single or sources
            for found in self._detector(vlm, convention).map(images):
                if console.can_draw(self.output):
                    spinner.close()  # what is shown on the terminal tells how far it is
                else:
                    spinner.update(f"looking for objects: {found.index + 1} of {len(images)}")
                self._take(found)

    def _enough(self, config: EngineConfig, files: ModelFiles, convention: Convention) -> EngineConfig:
        """Raises: UsageError, where points are wanted of a family that has none."""
        n_questions = len(self.search.sources) * len(convention.asks(self.search.labels, points=self.search.points))
        config = with_enough_tokens(config, files, convention)
        return replace(config, n_slots=min(_SLOTS, n_questions), priority="throughput")

    def _detector(self, vlm: VLM, convention: Convention) -> Detector:
        from ggufvlm.tasks.detect import Detector

        search = self.search
        return Detector(
            vlm,
            search.labels,
            points=search.points,
            convention=convention,
            prompt=search.prompt,
            system=search.system,
            settings=search.settings,
        )

    def _take(self, found: Found) -> None:
        if found.detections is None or found.image is None:
            assert found.error is not None
            if len(self.search.sources) == 1:
                raise found.error
            source = name_of(self.search.sources[found.index])
            self.complaints.add(found.error, source)
            self.writer.skip(source, found.error)
            return
        self.n_found += 1
        self.writer.add(found.index, found.detections)
        if self.paths is not None:
            self._draw(found.image, found.detections, self.paths[found.index])
        self.was_cut |= found.detections.answer.finish_reason == "repetition"
        if not self.output.quiet:
            self._comment(found.detections)
        if self.output.stats:
            console.show_stats(found.detections.answer, self.output)

    def _draw(self, image: Image, found: Detections, path: Path) -> None:
        from ggufvlm.cli.detect.images import save_drawn

        save_drawn(image, found, path)
        if not self.output.quiet:
            self.say(f"saved {path}")

    def _comment(self, found: Detections) -> None:
        name = f"{found.source}: " if len(self.search.sources) > 1 else ""
        for line in comments(found):
            self.say(f"{name}{line}")
        warn_about_end(found.answer, self.output, self.say)


def find_able_model(
    model: ModelOptions, convention: str | None, output: OutputOptions
) -> tuple[ModelFiles, Convention]:
    """The model's files, downloaded if need be, and how it writes boxes; refused before a download if it does not.

    Raises:
        UsageError: it does not write boxes.
        ModelError, DownloadError, PairingError: see :func:`~ggufvlm.models.resolve.find_model`.
    """
    if convention is not None:
        find_convention(convention)
    name = model.model or default_model()
    spec = None if is_path(name) else parse_name(name, load_registry()).spec
    if spec is not None and convention is None:
        convention_of_entry(spec)
    files = find_files(model, quiet=output.quiet)
    return files, convention_of(files, convention)


def _is_guess(files: ModelFiles, convention: str | None) -> bool:
    return convention is None and files.spec is not None and "grounding" in files.spec.unverified


def comments(found: Detections) -> list[str]:
    """What a user should know of an answer, in sentences."""
    lines = []
    if not (found.boxes or found.points):
        lines.append(f"nothing found ({', '.join(found.labels)})" if found.labels else "nothing found")
    elif found.missing:
        lines.append(f"not found: {', '.join(found.missing)}")
    if found.others:
        lines.append(f"not asked for and left out: {_listed([other.label for other in found.others])}")
    if found.n_dropped:
        lost = _count(found.n_dropped, "mark")
        lines.append(f"warning: {lost} of the answer left out: without sense, or outside the image")
    if found.n_clipped:
        lines.append(f"warning: {_count(found.n_clipped, 'mark')} reached beyond the image, cut at its edge")
    if found.n_repeated:
        lines.append(f"{_count(found.n_repeated, 'mark')} given more than once")
    return lines


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _listed(names: Sequence[str]) -> str:
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    shown = [name if count == 1 else f"{name} ({count})" for name, count in list(counts.items())[:_MOST_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])
