"""models.toml -> ModelSpec: which models there are, what their files are called, what llama.cpp cannot run.

Two files are read: the one that comes with the package, and the user's own ``models.toml`` in the configuration
folder, which adds entries and changes single values of existing ones. No network, no llama.cpp.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from ggufvlm.errors import ModelError, UsageError
from ggufvlm.files import expanded, personal_folder
from ggufvlm.gguf.names import model_key, parse_quant
from ggufvlm.models.schema import (
    PROJECTOR_PREFERENCE,
    FilePart,
    ImageFacts,
    ModelFile,
    ModelSpec,
    SamplingDefaults,
    Unsupported,
    read_model,
    read_unsupported,
)
from ggufvlm.models.toml_file import as_table, check_keys, read_toml

__all__ = [
    "PROJECTOR_PREFERENCE",
    "FilePart",
    "ImageFacts",
    "ModelFile",
    "ModelSpec",
    "Registry",
    "SamplingDefaults",
    "Unsupported",
    "config_dir",
    "load_registry",
]

FILE_NAME = "models.toml"


class Registry:
    """The models that have a name. Iterating goes through them sorted by id."""

    def __init__(
        self,
        models: Iterable[ModelSpec],
        unsupported: Iterable[Unsupported],
        default: str,
        recommended: Sequence[str] = (),
    ) -> None:
        self._models = {model.id: model for model in sorted(models, key=lambda model: model.id)}
        self._names = _index_names(self._models)
        self._unsupported = tuple(unsupported)
        if default not in self._names:
            raise UsageError(f"the default model is not in the registry: {default}")
        for entry in self._unsupported:
            if entry.nearest not in self._models:
                raise UsageError(f"[unsupported.{entry.id}]: nearest is not in the registry: {entry.nearest}")
        self.default = self._names[default]
        stranger = next((name for name in recommended if not isinstance(name, str) or name not in self._models), None)
        if stranger is not None:
            raise UsageError(f"recommended is not in the registry: {stranger!r}")
        self.recommended = tuple(dict.fromkeys([self.default, *(self._models[name] for name in recommended)]))

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _normalize(name) in self._names

    def find(self, name: str) -> ModelSpec:
        """The model with this id, alias or repository, in whatever case it is written."""
        model = self._names.get(_normalize(name)) or self.match_repo(name)
        if model is not None:
            return model
        unsupported = self.unsupported(name)
        if unsupported is not None:
            raise ModelError(f"{name} cannot run: {unsupported.reason}", hint=f"what can: {unsupported.nearest}")
        raise ModelError(f"unknown model: {name}", hint=self._suggest(name))

    def unsupported(self, name: str) -> Unsupported | None:
        """Why llama.cpp cannot run ``name`` (a model or a repository), if that is known."""
        from fnmatch import fnmatchcase

        if name in self:
            return None
        last = _normalize(name).rpartition("/")[2]
        for entry in self._unsupported:
            if any(fnmatchcase(last, pattern) for pattern in entry.patterns):
                return entry
        return None

    def split_quant(self, name: str) -> tuple[str, str | None]:
        """``"qwen2-vl-2b:Q8_0"`` -> ``("qwen2-vl-2b", "Q8_0")``. Colons of aliases, drives and URLs stay."""
        head, _, tail = name.rpartition(":")
        if not head or not tail or name in self:
            return name, None
        if head in self:
            return head, tail.upper()
        quant = parse_quant(tail)  # of a name that we do not know only if it looks like one
        if quant is not None:
            return head, quant
        return name, None

    def match_repo(self, repo: str) -> ModelSpec | None:
        """The one model whose files lie in this Hub repository."""
        wanted = repo.strip().lower()
        return _only(
            model
            for model in self
            if wanted in {(file.repo or "").lower() for file in (*model.files, *model.projectors)} - {""}
        )

    def match_file(self, filename: str) -> ModelSpec | None:
        """The one model that a language model file belongs to, by its name; other quantizations count as well."""
        name = re.split(r"[/\\]", filename)[-1].lower()
        exact = [model for model in self for file in model.files if any(_base(part) == name for part in file.parts)]
        if exact:
            return _only(exact)
        stems = _stems(name)
        return _only(model for model in self for file in model.files if model_key(file.parts[0].name) in stems)

    def _suggest(self, name: str) -> str:
        from difflib import get_close_matches

        wanted = _normalize(name)
        close = get_close_matches(wanted, self._names, n=6, cutoff=0.6) or _with(wanted, self._names)
        ids = list(dict.fromkeys(self._names[key].id for key in close))
        if not wanted or not ids:
            return "`ggufvlm list --all` shows the models there are"
        is_common = sum(wanted in model.id for model in self) > 3
        more = f" `ggufvlm list --all {wanted}` shows more" if is_common else ""
        return f"did you mean {', '.join(ids[:3])}?{more}"


def _with(part: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if part in name] if len(part) > 2 else []


def load_registry(user_file: Path | None = None) -> Registry:
    """The packaged models with the user's own merged over them. By default the user's file may be missing."""
    if user_file is None:
        user_file = config_dir() / FILE_NAME
        if not user_file.is_file():
            return _packaged_registry()
    return _build(_packaged(), _read_toml(user_file), user_file)


def config_dir() -> Path:
    """The folder of the user's own settings: ``GGUFVLM_CONFIG_DIR``, or where the system keeps such things."""
    folder = os.environ.get("GGUFVLM_CONFIG_DIR")
    if folder:
        return expanded(folder)
    return personal_folder("config")


@cache
def _packaged_registry() -> Registry:
    return _build(_packaged(), {}, Path(FILE_NAME))


@cache
def _packaged() -> Mapping[str, object]:
    package = Path(__file__).parents[1]
    # A wheel carries the file inside the package; an editable install leaves it in the repository, beside the package.
    path = next((folder / FILE_NAME for folder in (package, package.parent) if (folder / FILE_NAME).is_file()), None)
    if path is None:
        raise ModelError(f"{FILE_NAME} is missing from this installation", hint="install ggufvlm again")
    return _read_toml(path)


def _read_toml(path: Path) -> Mapping[str, object]:
    tables = read_toml(path)
    check_keys(tables, ("default", "recommended", "models", "unsupported"), str(path))
    return tables


def _build(packaged: Mapping[str, object], user: Mapping[str, object], user_file: Path) -> Registry:
    tables = _merge(packaged, user)

    def entries(section: str) -> Iterator[tuple[str, object, str, str]]:
        mine = _section(user, section, user_file)
        for key, value in _section(tables, section, user_file).items():
            path, origin = (user_file, "user") if key in mine else (FILE_NAME, "package")
            yield key, value, f"{path}: [{section}.{key}]", origin

    models = [read_model(key, value, where, origin=origin) for key, value, where, origin in entries("models")]
    unsupported = [read_unsupported(key, value, where) for key, value, where, _ in entries("unsupported")]
    try:
        recommended = tables.get("recommended", [])
        if not isinstance(recommended, list):
            raise UsageError("recommended must be a list of names")
        return Registry(models, unsupported, str(tables.get("default", "")), recommended)
    except UsageError as error:
        raise UsageError(f"{user_file}: {error}") from None


def _section(tables: Mapping[str, object], key: str, path: Path) -> Mapping[str, object]:
    return as_table(tables.get(key, {}), f"{path}: {key}")


def _merge(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _index_names(models: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
    names: dict[str, ModelSpec] = {}
    # The user's entries come last and may take an alias away from ours, but not an id.
    for model in sorted(models.values(), key=lambda model: model.origin == "user"):
        for name in (model.id, *model.aliases):
            owner = names.get(name, model)
            if owner is not model and (owner.origin == model.origin or owner.id == name):
                raise UsageError(f"{name} names both {owner.id} and {model.id}")
            names[name] = model
    return names


def _normalize(name: str) -> str:
    return re.sub(r"[_\s]+", "-", name.strip().lower())


def _only(models: Iterable[ModelSpec]) -> ModelSpec | None:
    """The model, if it is always the same one: file names such as ``mmproj-model-f16.gguf`` say nothing."""
    found = {model.id: model for model in models}
    return found.popitem()[1] if len(found) == 1 else None


def _base(part: FilePart) -> str:
    return part.name.rpartition("/")[2].lower()


def _stems(name: str) -> set[str]:
    # bartowski writes the maker before the name: Qwen_Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf
    return {model_key(name), model_key(name.partition("_")[2])} - {""}
