"""What is missing of a model, whether its two parts fit, and how to get it.

Before a byte of weights is fetched, the Hub's list of files has been compared with the registry, the headers of both
GGUF files have been read by range requests and compared, and the disk has been found large enough.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ggufvlm.errors import DownloadError, ModelError, PairingError
from ggufvlm.gguf.header import ByteSource, GGUFHeader, read_header
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.hub.cache import cache_folder, locate, remember_main
from ggufvlm.models.hub.client import RemoteSource, Repository, read_repository
from ggufvlm.models.hub.select import is_projector, pick, pick_quants
from ggufvlm.models.hub.transfer import DownloadItem, complete, fetch, n_bytes_here, size_text
from ggufvlm.models.pairing import PairReport, compare
from ggufvlm.models.schema import FilePart, ModelFile, ModelSpec
from ggufvlm.version import upgrade_command


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedFiles:
    """The files that a name stands for.

    Attributes:
        projectors: best first; empty if the user brings one.
        guessed: the pair was put together from file names, by nobody who tried it.
    """

    name: str
    model: ModelFile
    projectors: tuple[ModelFile, ...]
    spec: ModelSpec | None = None
    guessed: bool = False

    @property
    def projector(self) -> ModelFile | None:
        """The projector to take."""
        return self.projectors[0] if self.projectors else None

    def located(self, mmproj: Path | None = None) -> ModelFiles | None:
        """The files on disk, if all are there. A projector that is there is better than one that is not."""
        model = locate(self.model)
        projectors = [mmproj] if mmproj else [paths[0] for file in self.projectors if (paths := locate(file))]
        if model is None or not projectors:
            return None
        return ModelFiles(name=self.name, model=model[0], mmproj=projectors[0], spec=self.spec)


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadProgress:
    """How far a download is: bytes of all its files together, and the file that is coming."""

    done: int
    total: int
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """What has to be fetched of a model. Made by :func:`plan`.

    Attributes:
        report: what the headers of the two files say.
        notes: what differs from the registry, in sentences.
        main_of: repositories whose main branch was taken, and its commit.
    """

    selection: SelectedFiles
    mmproj: Path | None
    items: tuple[DownloadItem, ...]
    report: PairReport
    notes: tuple[str, ...] = ()
    main_of: tuple[tuple[str, str], ...] = ()

    @property
    def total(self) -> int:
        """Bytes of the files that are not complete yet."""
        return sum(item.size for item in self.items)

    @property
    def left(self) -> int:
        """Bytes that have to come: an interrupted download, or one of another commit, has left some."""
        return self.total - sum(n_bytes_here(item) for item in self.items)

    def run(self, on_progress: Callable[[DownloadProgress], None] | None = None) -> ModelFiles:
        """Fetch everything.

        Raises:
            DownloadError: it did not come; what has come stays, and the next run goes on there.
        """
        done, name = 0, ""

        def report(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            if on_progress is not None:
                on_progress(DownloadProgress(done=done, total=self.total, file=name))

        for item in self.items:
            name = item.name
            fetch(item, report)
        for repo, commit in self.main_of:
            remember_main(repo, commit)
        return self.located()

    def located(self) -> ModelFiles:
        """The files, after :meth:`run`.

        Raises:
            DownloadError: they are not there.
        """
        files = self.selection.located(self.mmproj)
        if files is None:
            raise DownloadError(
                f"{self.selection.name} is not on this machine", hint=f"ggufvlm pull {self.selection.name}"
            )
        return files


def plan(
    selection: SelectedFiles, mmproj: Path | None = None, *, hub: HubView | None = None, check_space: bool = True
) -> Download:
    """Find out what has to be fetched, and that it is worth it.

    Args:
        selection: the files that are wanted.
        mmproj: a projector on disk in place of the selected ones.
        hub: what has been learnt from the Hub already.
        check_space: whether the disk has to be large enough.

    Raises:
        DownloadError: the Hub does not tell, or there is no room.
        PairingError: model and projector do not belong together.
    """
    hub = hub or HubView()
    model = hub.confirm(selection.model)
    projector, report = _fitting(selection, mmproj, model, hub)
    download = Download(
        selection=replace(selection, model=model, projectors=(projector,) if projector else ()),
        mmproj=mmproj,
        items=tuple(complete(item) for file in (model, projector) if file for item in _missing(file)),
        report=report,
        notes=tuple(hub.notes),
        main_of=tuple(hub.main_of.items()),
    )
    if check_space:
        _check_space(download)
    return download


def _fitting(
    selection: SelectedFiles, mmproj: Path | None, model: ModelFile, hub: HubView
) -> tuple[ModelFile | None, PairReport]:
    """The first projector that fits, and what the headers say. One that is on disk need not be fetched."""
    if mmproj is not None:
        return None, hub.compare(model, mmproj)
    candidates = sorted(selection.projectors, key=lambda file: locate(file) is None)
    refusal: PairingError | None = None
    for candidate in candidates if selection.guessed else candidates[:1]:
        confirmed = hub.confirm(candidate)
        try:
            return confirmed, hub.compare(model, confirmed)
        except PairingError as error:
            refusal = refusal or error
    assert refusal is not None
    raise _with_right_file(refusal, hub, model, selection)


def _missing(file: ModelFile) -> Iterable[DownloadItem]:
    """Parts that do not lie at the commit; where their bytes lie elsewhere in the cache, they need a link only."""
    repo, commit = file.repo or "", file.revision or ""
    for part in file.parts:
        item = DownloadItem(repo=repo, commit=commit, name=part.name, size=part.size or 0, sha256=part.sha256)
        if not item.path.is_file() or part.size not in (None, item.path.stat().st_size):
            yield item


class HubView:
    """What has been learnt from the Hub; each repository is asked once."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.main_of: dict[str, str] = {}
        self._repositories: dict[tuple[str, str | None], Repository] = {}

    @property
    def answered(self) -> bool:
        """Whether the Hub could be reached."""
        return bool(self._repositories)

    def repository(self, repo: str, revision: str | None) -> Repository:
        """What a repository holds; asked once."""
        key = (repo, revision)
        if key not in self._repositories:
            self._repositories[key] = found = read_repository(repo, revision)
            if found.moved_to:
                self.notes.append(f"{repo} is called {found.moved_to} now")
            if revision is None:
                self.main_of[repo] = found.commit
        return self._repositories[key]

    def confirm(self, file: ModelFile) -> ModelFile:
        """The file with its commit, and with the sizes and checksums that the Hub gives.

        Raises:
            DownloadError: the repository does not have it, or something else under its name.
        """
        found = self.repository(file.repo or "", file.revision)
        if any(part.name not in found.files for part in file.parts):
            file = self._renamed(file, found)
        parts = tuple(self._confirm_part(part, found.files[part.name], file) for part in file.parts)
        return replace(file, parts=parts, revision=found.commit)

    def _renamed(self, file: ModelFile, found: Repository) -> ModelFile:
        """The file that must be meant, if the registry is not sure of its name."""
        if "name" in file.unverified:
            there = pick(found.files.values(), found.id, file.revision, None if is_projector(file.name) else file.quant)
            candidates = there.projectors if is_projector(file.name) else (there.model,)
            for other in sorted(candidates, key=lambda other: other.quant != file.quant):
                self.notes.append(f"{file.name} is called {other.name} in {found.id}")
                return other
        hint = f"it has {', '.join(pick_quants(found.files.values())) or 'no GGUF model'}"
        raise DownloadError(f"{found.id} has no file {file.name}", hint=hint)

    def _confirm_part(self, part: FilePart, found: FilePart, file: ModelFile) -> FilePart:
        if part.sha256 and found.sha256 and part.sha256 != found.sha256:
            if file.revision is not None and "sha256" not in file.unverified:
                raise DownloadError(
                    f"{file.repo}: {part.name} is not the file that ggufvlm knows: its checksum differs",
                    hint=f"{upgrade_command()}; or take it as a stranger: -m USER/REPO of another repository",
                )
            self.notes.append(f"{part.name} has changed at the Hub since ggufvlm's list of models was made")
        return FilePart(name=part.name, size=found.size or part.size, sha256=found.sha256 or part.sha256)

    def compare(self, model: ModelFile, projector: ModelFile | Path) -> PairReport:
        """Compare the headers of two files, wherever they are.

        Raises:
            PairingError, ModelError: they do not belong together, or are no models at all.
        """
        theirs = read_header(projector) if isinstance(projector, Path) else _header(projector)
        short = _header(model, stop_at_vocabulary=True)
        try:
            return compare(short, theirs, allow_untyped=True)
        except ModelError:
            if short.complete:
                raise
        return compare(_header(model), theirs, allow_untyped=True)  # keys behind the vocabulary may change the verdict


def _header(file: ModelFile, *, stop_at_vocabulary: bool = False) -> GGUFHeader:
    paths = locate(file)
    name = file.name.rpartition("/")[2]
    source: Path | ByteSource = RemoteSource(file.repo or "", file.name, file.revision or "")
    if paths and file.parts[0].size in (None, paths[0].stat().st_size):  # else it is damaged, and will be fetched anew
        source = paths[0]
    return read_header(source, name=name, stop_at_vocabulary=stop_at_vocabulary)


def _with_right_file(error: PairingError, hub: HubView, model: ModelFile, selection: SelectedFiles) -> PairingError:
    """The same error with the name of a projector that fits, if the repository or the registry has one."""
    from ggufvlm.models.registry import load_registry

    found = hub.repository(model.repo or "", model.revision)
    for other in pick(found.files.values(), found.id, found.commit, name=model.name).projectors:
        if other.name in {file.name for file in selection.projectors}:
            continue
        try:
            hub.compare(model, other)
        except ModelError:
            continue
        return PairingError(str(error), hint=f"{other.name} of {found.id} fits: hf download {found.id} {other.name}")
    spec = load_registry().match_file(model.name)
    if spec is not None and spec is not selection.spec and spec.repo != model.repo:
        return PairingError(str(error), hint=f"-m {spec.id} takes {spec.projector().name} of {spec.projector().repo}")
    return PairingError(str(error), hint=error.hint)


def _check_space(download: Download) -> None:
    folder = cache_folder().absolute()
    while not folder.exists():
        folder = folder.parent
    free, left = shutil.disk_usage(folder).free, download.left
    if left > free:
        raise DownloadError(
            f"{download.selection.name} needs {size_text(left)}, and {folder} has {size_text(free)} left",
            hint="`ggufvlm list` and `ggufvlm rm MODEL` make room; HF_HOME names a folder on another disk",
        )
