"""What one entry of models.toml holds, and how its table is read. Knows no file, no merging and no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ggufvlm.errors import ModelError, UsageError
from ggufvlm.models.toml_file import as_table, check_keys

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_QUANT = "Q4_K_M"
# F16 and Q8_0 run everywhere; BF16 projectors fail on hardware without the type.
PROJECTOR_PREFERENCE = ("F16", "Q8_0", "BF16", "F32")


def projector_preference(*, has_bf16: bool) -> tuple[str, ...]:
    """Types of a projector, best first. BF16 is slow, or fails, where the hardware lacks the type.

    Args:
        has_bf16: whether it has it, from :func:`ggufvlm.hardware.cpu.cpu_has_bf16`.
    """
    return ("F16", "BF16", "Q8_0", "F32") if has_bf16 else PROJECTOR_PREFERENCE


# Texts, not compiled: importing this module has to be quick, and `re` keeps what it has compiled.
_ID = r"[a-z0-9]+(?:[.-][a-z0-9]+)*"
_ALIAS = r"[a-z0-9]+(?:[.:/-][a-z0-9]+)*"
_QUANT = r"[A-Z0-9]+(?:[_-][A-Z0-9]+)*"
_HANDLER = r"[a-z0-9]+(?:_[a-z0-9]+)*"
_REPO = r"[\w.-]+/[\w.-]+"
_COMMIT = r"[0-9a-f]{40}"
_SHA256 = r"[0-9a-f]{64}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _require_pattern(pattern: str, value: str | None, what: str) -> None:
    _require(value is None or re.fullmatch(pattern, value) is not None, f"{what}: {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePart:
    """One file in a repository. ``None``: not known."""

    name: str
    size: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        folders = re.split(r"[/\\]", self.name)
        _require(self.name.endswith(".gguf"), f"not a GGUF file name: {self.name!r}")
        _require(not {"", ".", ".."} & set(folders) and ":" not in self.name, f"not a plain file name: {self.name!r}")
        _require(self.size is None or self.size > 0, f"size must be positive, not {self.size}")
        _require_pattern(_SHA256, self.sha256, "sha256 must be 64 hexadecimal digits")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A language model or a projector in one quantization. ``revision`` is ``None`` where no commit is known."""

    quant: str
    parts: tuple[FilePart, ...]
    repo: str | None = None
    revision: str | None = None
    unverified: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_pattern(_QUANT, self.quant, "quant must look like Q4_K_M")
        _require(bool(self.parts), "parts must not be empty")
        _check_origin(self.repo, self.revision)
        _check_unverified(self.unverified, ("name", "quant", "revision", "size", "sha256"))

    @property
    def name(self) -> str:
        """The file to load: llama.cpp finds the other parts of a split model beside the first one."""
        return self.parts[0].name

    @property
    def size(self) -> int | None:
        """Bytes of all parts, ``None`` when one of them is not known."""
        sizes = [part.size for part in self.parts if part.size is not None]
        return sum(sizes) if len(sizes) == len(self.parts) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingDefaults:
    """What the makers of a model recommend. ``None``: they say nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            _require(value >= 0, f"{name} must not be negative: {value}")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            _require(share is None or share <= 1, f"{name} must not be above 1: {share}")

    def given(self) -> dict[str, Any]:
        """The values there are, by the names that ``SamplingParams`` has for them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """How a projector cuts an image. Lengths are pixels, budgets are tokens; ``None`` is unknown or has no meaning.

    Attributes:
        patch, merge: one token covers ``patch * merge`` pixels squared.
        min_tokens, max_tokens: what llama.cpp allows one image.
        tokens_per_image, size: for projectors that scale every image to one square.
        tile, tokens_per_tile, max_tiles: for projectors that cut an image into tiles.
        overview: whether the whole image comes along as one more tile.
        grounding_min_tokens: below this budget boxes are unreliable.
    """

    patch: int | None = None
    merge: int | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    tokens_per_image: int | None = None
    size: int | None = None
    tile: int | None = None
    tokens_per_tile: int | None = None
    max_tiles: int | None = None
    overview: bool | None = None
    grounding_min_tokens: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            _require(value is None or item.name == "overview" or value > 0, f"{item.name} must be positive: {value}")
        low, high = self.min_tokens, self.max_tokens
        _require(low is None or high is None or low <= high, f"min_tokens {low} is above max_tokens {high}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model: where its files lie, how to talk to it, what it needs. ``None``: not known.

    Attributes:
        builtin: the files lie in the package, not on the Hub.
        context: tokens the model was trained for.
        memory_gb: about what the default files need with 8192 tokens of context.
        template: name of a built-in chat template, where the GGUF has none that works.
        grounding: name of the convention in which the model writes boxes; ``None`` writes none.
        unverified: fields whose value nobody has checked against the files.
        origin: "package", or "user" when the user's own models.toml adds or changes the entry.
    """

    id: str
    files: tuple[ModelFile, ...]
    projectors: tuple[ModelFile, ...]
    summary: str = ""
    aliases: tuple[str, ...] = ()
    repo: str | None = None
    revision: str | None = None
    builtin: bool = False
    license: str = "unknown"
    params: str | None = None
    context: int | None = None
    memory_gb: float | None = None
    architecture: str | None = None
    projector_type: str | None = None
    handler: str = "generic"
    template: str | None = None
    grounding: str | None = None
    default_quant: str | None = None
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    image: ImageFacts = field(default_factory=ImageFacts)
    unverified: tuple[str, ...] = ()
    origin: str = "package"

    def __post_init__(self) -> None:
        _require_pattern(_ID, self.id, "an id is lower-case words joined by '-' or '.'")
        for alias in self.aliases:
            _require_pattern(_ALIAS, alias, "an alias is lower-case words joined by '-', '.', ':' or '/'")
        _check_origin(self.repo, self.revision)
        for key, files in (("files", self.files), ("projectors", self.projectors)):
            _require(bool(files), f"{key} must not be empty")
            quants = [file.quant for file in files]
            _require(len(set(quants)) == len(quants), f"{key} name a quant twice: {', '.join(quants)}")
            _require(self.builtin or all(file.repo for file in files), "repo is missing")
        _require_pattern(_HANDLER, self.handler, "handler must look like qwen_vl")
        _require(self.context is None or self.context > 0, f"context must be positive: {self.context}")
        _require(self.memory_gb is None or self.memory_gb > 0, f"memory_gb must be positive: {self.memory_gb}")
        _require(self.default_quant in (None, *self.quants), f"default_quant {self.default_quant} is not in files")
        _check_unverified(self.unverified, [item.name for item in fields(self)])

    @property
    def quants(self) -> tuple[str, ...]:
        """Quantizations of the language model, in the order of the entry."""
        return tuple(file.quant for file in self.files)

    def model_file(self, quant: str | None = None) -> ModelFile:
        """The language model in ``quant``; by default Q4_K_M, else the first one of the entry."""
        if quant is None:
            quant = self.default_quant or (DEFAULT_QUANT if DEFAULT_QUANT in self.quants else self.quants[0])
        return self._choose(self.files, [quant], "")

    def projector(self, preference: str | Sequence[str] = PROJECTOR_PREFERENCE) -> ModelFile:
        """The projector in the first quantization of ``preference`` that there is."""
        return self._choose(self.projectors, [preference] if isinstance(preference, str) else preference, "projector ")

    def _choose(self, files: tuple[ModelFile, ...], quants: Sequence[str], what: str) -> ModelFile:
        by_quant = {file.quant: file for file in files}
        for quant in quants:
            if quant.upper() in by_quant:
                return by_quant[quant.upper()]
        raise ModelError(f"{self.id} has no {what}{' or '.join(quants)}", hint=f"there is {', '.join(by_quant)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """Models that llama.cpp cannot run, by the names that people type (``*`` stands for anything)."""

    id: str
    patterns: tuple[str, ...]
    reason: str
    nearest: str

    def __post_init__(self) -> None:
        _require(bool(self.patterns) and all(self.patterns), "patterns must not be empty")


def _check_origin(repo: str | None, revision: str | None) -> None:
    _require_pattern(_REPO, repo, "repo must look like user/name")
    _require_pattern(_COMMIT, revision, "revision must be a commit of 40 hexadecimal digits")


def _check_unverified(unverified: Sequence[str], known: Iterable[str]) -> None:
    unknown = sorted(set(unverified) - set(known))
    _require(not unknown, f"unverified names no field: {', '.join(unknown)}")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError("a text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("a number")
    return float(value)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("a list of texts")
    return tuple(_text(item) for item in value)


_READERS: Mapping[object, Callable[[object], object]] = {
    str: _text,
    str | None: _text,
    int: _integer,
    int | None: _integer,
    float: _number,
    float | None: _number,
    bool: _flag,
    bool | None: _flag,
    tuple[str, ...]: _texts,
}

_Entry = TypeVar("_Entry", bound="DataclassInstance")


def _read(kind: type[_Entry], values: object, where: str, **given: object) -> _Entry:
    """``values`` of a TOML table as a ``kind``; ``given`` are the fields that do not come from the table."""
    table = as_table(values, where)
    known = {item.name: item for item in fields(kind) if item.name not in given}
    check_keys(table, known, where)
    # TOML has no null: an empty text is the only way to take a value away from an entry
    present = {key: value for key, value in table.items() if value != "" or known[key].default is not None}
    types = _types(kind)
    found = given | {key: _read_value(types[key], value, f"{where}: {key}") for key, value in present.items()}
    _check_complete(found, known.values(), where)
    try:
        return kind(**found)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


@cache
def _types(kind: type[DataclassInstance]) -> Mapping[str, object]:
    return get_type_hints(kind)


def _read_value(value_type: object, value: object, where: str) -> object:
    try:
        return _READERS[value_type](value)
    except TypeError as error:
        raise UsageError(f"{where} must be {error}, not {value!r}") from None


def _check_complete(found: Mapping[str, object], known: Iterable[Field[Any]], where: str) -> None:
    for item in known:
        if item.name not in found and item.default is MISSING and item.default_factory is MISSING:
            raise UsageError(f"{where}: {item.name} is missing")


def read_model(model_id: str, values: object, where: str, *, origin: str) -> ModelSpec:
    """A ``[models.ID]`` table as a model.

    Args:
        model_id: the ID.
        values: what TOML gave for it, which may be anything.
        where: begins messages: the file and the table's name.
        origin: "package" or "user", whose file it is from.

    Raises:
        UsageError: a key or a value is wrong, or one is missing.
    """
    table = dict(as_table(values, where))
    repo, revision = table.get("repo"), table.get("revision")
    lists = {key: _read_files(table.pop(key, []), f"{where} {key}", repo, revision) for key in ("files", "projectors")}
    sampling = _read(SamplingDefaults, table.pop("sampling", {}), f"{where} sampling")
    image = _read(ImageFacts, table.pop("image", {}), f"{where} image")
    return _read(ModelSpec, table, where, id=model_id, origin=origin, sampling=sampling, image=image, **lists)


def read_unsupported(entry_id: str, values: object, where: str) -> Unsupported:
    """An ``[unsupported.ID]`` table as an entry; arguments and errors as of :func:`read_model`."""
    return _read(Unsupported, values, where, id=entry_id)


def _read_files(values: object, where: str, repo: object, revision: object) -> tuple[ModelFile, ...]:
    if not isinstance(values, list):
        raise UsageError(f"{where}: must be a list of tables, not {values!r}")
    return tuple(_read_file(value, where, repo, revision) for value in values)


def _read_file(values: object, where: str, repo: object, revision: object) -> ModelFile:
    table = dict(as_table(values, where))
    if isinstance(table.get("quant"), str):
        table["quant"] = str(table["quant"]).upper()
    where = f"{where} {table.get('quant', '')}".rstrip()
    single = {key: table.pop(key) for key in ("name", "size", "sha256") if key in table}
    parts = table.pop("parts", [single])
    if not isinstance(parts, list) or (single and parts != [single]):
        raise UsageError(f"{where}: give either name, size and sha256, or a list of parts")
    read_parts = tuple(_read(FilePart, part, where) for part in parts)
    if table.setdefault("repo", repo) == repo and "revision" not in _as_list(table.get("unverified")):
        table.setdefault("revision", revision)
    present = {key: value for key, value in table.items() if value is not None}
    return _read(ModelFile, present, where, parts=read_parts)


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
