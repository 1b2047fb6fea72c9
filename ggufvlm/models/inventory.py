"""Which models lie on this machine, whether their bytes are right, and how they leave it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.errors import DownloadError, ModelError
from ggufvlm.gguf.names import split_parts
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.hub.cache import (
    cached_parts,
    cached_repos,
    checksum_of,
    locate,
    origin_of,
    partial_path,
    partial_size,
    remove,
    repo_folder,
    snapshot_path,
    snapshots,
)
from ggufvlm.models.hub.client import is_offline, read_repository
from ggufvlm.models.hub.select import UNKNOWN_QUANT, is_projector, pick, pick_names, pick_quants
from ggufvlm.models.hub.transfer import DownloadItem, complete, fetch
from ggufvlm.models.registry import Registry
from ggufvlm.models.resolve import NamedModel, from_registry, on_disk, parse_name
from ggufvlm.models.schema import FilePart, ModelFile, ModelSpec

_READ = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledModel:
    """A model on this machine.

    Attributes:
        repo, commit: where it is from; None for the built-in model.
        size: bytes on disk.
        fraction: how much of it is here, as far as that is known; 1.0 if it can be used.
    """

    name: str
    quant: str
    repo: str | None
    commit: str | None
    paths: tuple[Path, ...]
    size: int
    fraction: float | None
    spec: ModelSpec | None


def inventory(registry: Registry) -> list[InstalledModel]:
    """The models on this machine: the built-in one, then those in the Hub cache, also if other tools put them there.

    A language model without a projector is left out, unless the registry knows it.
    """
    from ggufvlm.models.resolve import find_model

    found: dict[str, InstalledModel] = {}
    for spec in registry:
        if spec.builtin:
            found[spec.id] = _installed(find_model(spec.id), spec.model_file().quant)
    for repo in cached_repos():
        for name, quant in _names_in(repo, registry):
            if name in found:
                continue
            with suppress(ModelError):  # llama.cpp cannot run it
                files = on_disk(parse_name(name, registry))
                if files is not None:
                    found[name] = _installed(files, quant)
    for incomplete in _incomplete(registry):
        found.setdefault(incomplete.name, incomplete)
    return list(found.values())


def _names_in(repo: str, registry: Registry) -> Iterator[tuple[str, str]]:
    spec = registry.match_repo(repo)
    for commit in snapshots(repo):
        parts = cached_parts(repo, commit)
        for quant in pick_quants(parts):
            names = pick_names(parts, quant)
            if spec is None and len(names) > 1:
                yield from ((f"{repo}:{name}", quant) for name in names)
                continue
            plain = spec.id if spec else repo
            is_plain = quant == (spec.model_file().quant if spec else UNKNOWN_QUANT)
            yield (plain if is_plain else f"{plain}:{quant}"), quant


def _installed(files: ModelFiles, quant: str) -> InstalledModel:
    paths = (*split_parts(files.model), files.mmproj)
    origin = origin_of(files.model)
    return InstalledModel(
        name=files.name,
        quant=quant,
        repo=origin[0] if origin else None,
        commit=origin[1] if origin else None,
        paths=paths,
        size=sum(path.stat().st_size for path in paths),
        fraction=1.0,
        spec=files.spec,
    )


def _incomplete(registry: Registry) -> Iterator[InstalledModel]:
    """Models of the registry of which something is here, but not all."""
    for spec in registry:
        if spec.builtin or not any(repo_folder(repo).is_dir() for repo in _repos(spec)):
            continue
        for quant in spec.quants:
            selection = from_registry(spec, quant)
            here = list(locate(selection.model) or ())
            size = sum(path.stat().st_size for path in here) + _partial_bytes(selection.model)
            if not size or selection.located():
                continue
            total = _total([selection.model, selection.projectors[0]])
            yield InstalledModel(
                name=selection.name,
                quant=quant,
                repo=selection.model.repo,
                commit=selection.model.revision,
                paths=tuple(here),
                size=size,
                fraction=size / total if total else None,
                spec=spec,
            )


def _repos(spec: ModelSpec) -> set[str]:
    return {file.repo for file in (*spec.files, *spec.projectors) if file.repo}


def _partial_bytes(file: ModelFile) -> int:
    return sum(partial_size(file.repo, part.sha256) for part in file.parts) if file.repo else 0


def _total(files: Iterable[ModelFile]) -> int | None:
    sizes = [file.size for file in files]
    return sum(size for size in sizes if size) if all(sizes) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileVerdict:
    """What rehashing a file showed. ``expected`` is None if nobody knows its checksum."""

    path: Path
    expected: str | None
    actual: str

    @property
    def damaged(self) -> bool:
        """Whether these are not the bytes that were published."""
        return self.expected is not None and self.expected != self.actual


def files_of(files: ModelFiles) -> list[Path]:
    """All paths of a model: the parts of a split one, and the projector."""
    return [*split_parts(files.model), files.mmproj]


def verify(files: ModelFiles, on_bytes: Callable[[int], None]) -> Iterator[FileVerdict]:
    """Read every byte of a model and compare checksums: the registry's, the cache's or the Hub's."""
    known = _known_checksums(files.spec)
    builtin = files.spec is not None and files.spec.builtin
    for path in files_of(files):
        origin = origin_of(path)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_READ):
                digest.update(piece)
                on_bytes(len(piece))
        expected = known.get(("", path.name)) if builtin else None
        if origin is not None:
            expected = known.get((origin[0], origin[2])) or checksum_of(path) or _published(*origin)
        yield FileVerdict(path=path, expected=expected, actual=digest.hexdigest())


def _known_checksums(spec: ModelSpec | None) -> dict[tuple[str, str], str]:
    """Checksums of pinned files: those of others may have changed at the Hub since."""
    if spec is None:
        return {}
    return {
        (file.repo or "", part.name): part.sha256
        for file in (*spec.files, *spec.projectors)
        for part in file.parts
        if part.sha256 and "sha256" not in file.unverified and (spec.builtin or file.revision)
    }


def _published(repo: str, commit: str, name: str) -> str | None:
    if is_offline():
        return None
    try:
        found = read_repository(repo, commit).files.get(name)
    except DownloadError:
        return None
    return found.sha256 if found else None


def repair(path: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch a damaged file of the cache anew.

    Raises:
        DownloadError: it did not come.
    """
    origin = origin_of(path)
    if origin is None:
        raise DownloadError(f"{path} is not from the Hub and cannot be fetched anew")
    repo, commit, name = origin
    part = read_repository(repo, commit).files.get(name)
    if part is None:
        raise DownloadError(f"{repo} has no file {name} any more")
    item = DownloadItem(repo=repo, commit=commit, name=name, size=part.size or 0, sha256=part.sha256)
    fetch(complete(item), on_bytes, anew=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What would leave the disk."""

    paths: tuple[Path, ...]
    partials: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(path.stat().st_size for path in {path.resolve() for path in (*self.paths, *self.partials)})

    def run(self) -> int:
        """Remove it; the number of bytes that became free."""
        freed = remove(self.paths) if self.paths else 0
        for path in self.partials:
            freed += path.stat().st_size if path.exists() else 0
            path.unlink(missing_ok=True)
        return freed


def plan_removal(wanted: NamedModel) -> Removal:
    """The files of a model in the cache, at every commit. With a quantization only that one is meant, and its
    projector stays as long as another one needs it.

    Raises:
        ModelError: nothing of it is here, or it comes with the package.
    """
    spec, repo = wanted.spec, wanted.repo
    if repo is None:
        raise ModelError(f"{wanted.name} comes with ggufvlm and stays")
    names = _named(spec) if spec else {}
    paths = [
        snapshot_path(origin, commit, part.name)
        for origin in {repo, *(_repos(spec) if spec else ())}
        for commit in snapshots(origin)
        for part in _chosen(origin, commit, wanted)
    ]
    partials = [
        partial_path(file.repo or repo, part.sha256)
        for file, part in names.values()
        if part.sha256 and wanted.quant in (None, file.quant)
    ]
    if spec is None and wanted.quant is None:
        partials = [*repo_folder(repo).glob("blobs/*.incomplete")]
    removal = Removal(
        paths=tuple(path for path in paths if path.is_symlink() or path.exists()),
        partials=tuple(path for path in partials if path.exists()),
    )
    if not removal.paths and not removal.partials:
        raise ModelError(f"{wanted.name} is not on this machine", hint="`ggufvlm list` shows what is")
    return removal


def _named(spec: ModelSpec) -> dict[str, tuple[ModelFile, FilePart]]:
    return {part.name: (file, part) for file in (*spec.files, *spec.projectors) for part in file.parts}


def _chosen(repo: str, commit: str, wanted: NamedModel) -> list[FilePart]:
    """Which GGUF files of a commit belong to the model."""
    here = cached_parts(repo, commit)
    models = [part for part in here if not is_projector(part.name)]
    if wanted.quant is not None or wanted.file is not None:
        try:
            models = list(pick(here, repo, commit, wanted.quant, name=wanted.file).model.parts)
        except ModelError:
            return []
        others = [part for part in here if not is_projector(part.name) and part not in models]
        return models if others else here
    names = _named(wanted.spec) if wanted.spec else None
    return here if names is None else [part for part in here if part.name in names or wanted.repo == repo]
