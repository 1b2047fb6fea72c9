"""From what a user calls a model to its two files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.errors import DownloadError, ModelError
from ggufvlm.files import expanded
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.registry import Registry, load_registry
from ggufvlm.models.schema import FilePart, ModelFile, ModelSpec

if TYPE_CHECKING:
    from ggufvlm.models.hub.plan import Download, HubView, SelectedFiles

MODEL_VARIABLE = "GGUFVLM_MODEL"

_REPO = r"[\w.-]+/[\w.-]+"
_FILE_OF_REPO = re.compile(rf"({_REPO})(?:/(?:resolve|blob|raw)/([^/]+)/|:)([^:]+\.gguf)", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/|hf://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedModel:
    """What a name means, before anybody has looked at a disk or asked the Hub.

    Attributes:
        quant: the quantization that was asked for.
        spec: the registry's entry; ``None`` for a repository that the registry does not know.
        repo: the repository to look into where the registry does not name the file; ``None`` for a built-in model.
        file: the name of the model's file there, if it was named.
    """

    name: str
    quant: str | None
    spec: ModelSpec | None
    repo: str | None
    file: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DefaultModel:
    """The model that is asked where none is named.

    Attributes:
        source: who names it: a variable, or the user's file; ``None``: the registry.
    """

    name: str
    source: str | None


def find_default() -> DefaultModel:
    """``GGUFVLM_MODEL``, else ``model`` in the user's ``config.toml``, else the registry's default.

    Raises:
        UsageError: the user's file is wrong.
    """
    from ggufvlm.models.user_config import config_path, configured_model

    name = os.environ.get(MODEL_VARIABLE)
    if name:
        return DefaultModel(name=name, source=MODEL_VARIABLE)
    name = configured_model()
    if name:
        return DefaultModel(name=name, source=str(config_path()))
    return DefaultModel(name=load_registry().default.id, source=None)


def default_model() -> str:
    """The name of the model that is asked where none is named; see :func:`find_default`."""
    return find_default().name


def fetch_quietly(download: Download) -> None:
    """Fetch what is missing without a word."""
    download.run()


def find_model(
    name: str | None = None,
    mmproj: Path | None = None,
    *,
    fetch: Callable[[Download], object] | None = fetch_quietly,
) -> ModelFiles:
    """The files of a model. What lies on this machine is found without a single request.

    Args:
        name: a name from the registry (``qwen2-vl-2b``, ``qwen2-vl-2b:Q8_0``), a Hub repository (``USER/REPO[:QUANT]``)
            or a path to a GGUF; ``None`` is the user's default.
        mmproj: the projector, if it is not the one that belongs to the model.
        fetch: gets a download whose files have been found to fit each other and the disk, and calls its ``run``; it
            may raise instead. ``None`` downloads nothing.

    Raises:
        ModelError: unknown, missing, damaged.
        DownloadError: not on this machine, and the Hub did not hand it out.
        PairingError: the projector is not the model's, or several lie beside a local model and none is the obvious one.
    """
    if not name:
        return _find_default_files(mmproj, fetch)
    registry = load_registry()
    if mmproj is not None and not mmproj.is_file():
        raise _no_such_file(mmproj)
    if is_path(name):
        return _local(expanded(name), mmproj, registry)
    wanted = parse_name(name, registry)
    found = _builtin(wanted, mmproj) or on_disk(wanted, mmproj)
    if found is not None:
        return found
    if fetch is None:
        raise ModelError(f"{wanted.name} is not on this machine", hint=f"ggufvlm pull {wanted.name}")
    from ggufvlm.models.hub.plan import HubView, plan

    hub = HubView()
    try:
        download = plan(ask_hub(wanted, registry, hub, needs_projector=mmproj is None), mmproj, hub=hub)
        fetch(download)
    except DownloadError as error:
        if wanted.name in str(error) or (wanted.repo or wanted.name) in str(error):
            raise
        raise DownloadError(f"{wanted.name} is not on this machine, and {error}", hint=error.hint) from error
    return download.located()


def _find_default_files(mmproj: Path | None, fetch: Callable[[Download], object] | None) -> ModelFiles:
    default = find_default()
    try:
        return find_model(default.name, mmproj, fetch=fetch)
    except ModelError as error:
        if default.source is None:
            raise
        raise type(error)(f"{error} ({default.source} names this model)", hint=error.hint) from error


def is_path(name: str) -> bool:
    """Whether a model is named by its file, or by a folder that holds it."""
    path = expanded(name)
    if "://" in name or path.is_file():
        return "://" not in name
    if path.is_dir():
        from ggufvlm.models.local import models_in

        is_meant = path.is_absolute() or name.startswith(".") or name.endswith(("/", os.sep))
        return is_meant or (name not in load_registry() and bool(models_in(path)))
    return path.suffix.lower() == ".gguf" and not _FILE_OF_REPO.fullmatch(_ADDRESS.sub("", name))


def parse_name(name: str, registry: Registry) -> NamedModel:
    """Read ``NAME[:QUANT]``, ``USER/REPO[:QUANT]``, ``USER/REPO:FILE.gguf``, or an address of one at the Hub.

    Raises:
        ModelError: neither a name of the registry nor one that a repository can have.
    """
    text = _ADDRESS.sub("", name.strip()).partition("?")[0].removesuffix("/")
    if "://" in text:
        raise ModelError(
            f"{text}: models come from the Hub or from this machine", hint="download it, then: -m FILE.gguf"
        )
    of_repo = _FILE_OF_REPO.fullmatch(text)
    if of_repo:
        return _parse_file(of_repo[1], of_repo[2], of_repo[3], registry)
    plain, quant = registry.split_quant(text.removesuffix("/tree/main"))
    suffix = f":{quant}" if quant else ""
    is_repo = re.fullmatch(_REPO, plain) is not None
    stranger = is_repo and plain not in registry and not registry.match_repo(plain) and not registry.unsupported(plain)
    if stranger:
        return NamedModel(name=plain + suffix, quant=quant, spec=None, repo=plain)
    spec = registry.find(plain)
    return NamedModel(name=spec.id + suffix, quant=quant, spec=spec, repo=spec.repo)


def _parse_file(repo: str, revision: str | None, file: str, registry: Registry) -> NamedModel:
    """A file of a repository; one that the registry knows is known by its name."""
    from ggufvlm.models.hub.select import is_projector

    if revision not in (None, "main"):
        raise ModelError(f"{revision}: only the main branch of a repository is read", hint=f"-m {repo}:{file}")
    if is_projector(file):
        raise ModelError(f"{file} is a projector, no language model", hint=f"-m {repo} takes the model with it")
    spec = registry.match_repo(repo)
    for known in spec.files if spec else ():
        if file.lower() in {part.name.lower() for part in known.parts} and spec is not None:
            return NamedModel(name=f"{spec.id}:{known.quant}", quant=known.quant, spec=spec, repo=spec.repo)
    return NamedModel(name=f"{repo}:{file}", quant=None, spec=None, repo=repo, file=file)


def _builtin(wanted: NamedModel, mmproj: Path | None) -> ModelFiles | None:
    spec = wanted.spec
    if spec is None or not spec.builtin:
        return None
    folder = Path(__file__).parents[1] / "demo"
    model, projector = folder / spec.model_file(wanted.quant).name, folder / spec.projector().name
    return ModelFiles(name=spec.id, model=model, mmproj=mmproj or projector, spec=spec)


def on_disk(wanted: NamedModel, mmproj: Path | None = None) -> ModelFiles | None:
    """The files of a model if all of them lie in the Hub cache; no request is made."""
    for selection in selections_on_disk(wanted):
        files = selection.located(mmproj)
        if files is not None:
            return files
    return None


def selections_on_disk(wanted: NamedModel) -> list[SelectedFiles]:
    """What the name may mean on this machine: first what the registry names, then what the cache happens to hold."""
    from ggufvlm.models.hub.cache import cached_parts, snapshots
    from ggufvlm.models.hub.select import SeveralModels, pick

    spec, found = wanted.spec, []
    if spec is not None:
        quants = [wanted.quant] if wanted.quant else [spec.model_file().quant, *spec.quants]
        found = [from_registry(spec, quant) for quant in quants if quant in spec.quants]
    if (spec is None or (wanted.quant and not found)) and wanted.repo:
        for commit in snapshots(wanted.repo):
            try:
                chosen = pick(cached_parts(wanted.repo, commit), wanted.repo, commit, wanted.quant, name=wanted.file)
            except SeveralModels:
                raise
            except ModelError:
                continue
            found.append(_from_repository(wanted, chosen.model, chosen.projectors))
    return found


def ask_hub(wanted: NamedModel, registry: Registry, hub: HubView, *, needs_projector: bool = True) -> SelectedFiles:
    """The files that a name stands for, asking the Hub where the registry does not know.

    Args:
        wanted: what the name means.
        registry: tells of what models it knows files, for the advice in errors.
        hub: asks, and remembers the answers.
        needs_projector: False where the user brings one.

    Raises:
        ModelError: the repository has no such model.
        DownloadError: the Hub did not tell.
        PairingError: there is no projector.
    """
    from ggufvlm.models.hub.select import pick, require_projector

    spec = wanted.spec
    if spec is not None and (wanted.quant is None or wanted.quant in spec.quants):
        return from_registry(spec, wanted.quant)
    assert wanted.repo is not None
    found = hub.repository(wanted.repo, None)
    chosen = pick(found.files.values(), wanted.repo, None, wanted.quant, name=wanted.file)
    if chosen.others:
        others = ", ".join(chosen.others[:3])
        hub.notes.append(f"{wanted.repo} also holds {others}; -m {wanted.repo}:{chosen.others[0]} takes one of them")
    if needs_projector and not chosen.projectors:
        known = registry.match_file(chosen.model.name)
        if known is not None and known.repo != wanted.repo:
            raise ModelError(
                f"{wanted.repo} holds no projector (mmproj), so {chosen.model.name} cannot see", hint=f"-m {known.id}"
            )
        require_projector(chosen, wanted.repo)
    return _from_repository(wanted, chosen.model, chosen.projectors)


def from_registry(spec: ModelSpec, quant: str | None = None) -> SelectedFiles:
    """The files that the registry names."""
    from ggufvlm.models.hub.plan import SelectedFiles
    from ggufvlm.models.hub.select import projector_order

    model = spec.model_file(quant)
    order = projector_order()
    rank = {quant: place for place, quant in enumerate(order)}
    projectors = sorted(spec.projectors, key=lambda file: rank.get(file.quant, len(order)))
    name = spec.id if model is spec.model_file() else f"{spec.id}:{model.quant}"
    return SelectedFiles(name=name, model=model, projectors=tuple(projectors), spec=spec)


def _from_repository(wanted: NamedModel, model: ModelFile, projectors: tuple[ModelFile, ...]) -> SelectedFiles:
    from ggufvlm.models.hub.plan import SelectedFiles
    from ggufvlm.models.hub.select import UNKNOWN_QUANT

    is_plain = wanted.quant is not None or wanted.file is not None or model.quant == UNKNOWN_QUANT
    return SelectedFiles(
        name=wanted.name if is_plain else f"{wanted.name}:{model.quant}",
        model=_without_facts(model),
        projectors=tuple(map(_without_facts, projectors)),
        spec=wanted.spec or load_registry().match_file(model.name),
        guessed=True,
    )


def _without_facts(file: ModelFile) -> ModelFile:
    """The file as the Hub is to confirm it: its list is asked for once more, with the commit."""
    return replace(file, parts=tuple(FilePart(name=part.name) for part in file.parts))


def _local(path: Path, mmproj: Path | None, registry: Registry) -> ModelFiles:
    from ggufvlm.models.local import find_projector

    if path.is_dir():
        path = _only_model(path)
    if not path.is_file():
        raise _no_such_file(path)
    projector = mmproj or find_projector(path)
    if projector is None:
        raise ModelError(
            f"{path.name}: no projector lies beside this model, so it cannot see",
            hint="name it: --mmproj FILE",
        )
    return ModelFiles(name=path.stem, model=path, mmproj=projector, spec=registry.match_file(path.name))


def _no_such_file(path: Path) -> ModelError:
    """The error of a GGUF that is not there, with the name of the one that was probably meant."""
    from difflib import get_close_matches

    names = [found.name for found in path.parent.glob("*.[gG][gG][uU][fF]")]
    close = get_close_matches(path.name, names, n=1)
    hint = f"did you mean {path.with_name(close[0])}?" if close else "`ggufvlm list --all` shows models by name"
    return ModelError(f"{path}: no such file", hint=hint)


def _only_model(folder: Path) -> Path:
    """The language model that a folder holds.

    Raises:
        ModelError: none, or several.
    """
    from ggufvlm.models.local import models_in

    models = models_in(folder)
    if len(models) == 1:
        return models[0]
    if not models:
        raise ModelError(f"{folder}: no GGUF model in this folder", hint="name the file: -m FOLDER/FILE.gguf")
    names = ", ".join(path.name for path in models[:3]) + (" and others" if models[3:] else "")
    raise ModelError(f"{folder} holds {len(models)} models: {names}", hint=f"name one: -m {models[0]}")
