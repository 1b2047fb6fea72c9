"""Which files of a repository make up a model that can see: chosen by name alone. Pure: no network, no disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from ggufvlm.errors import ModelError, PairingError
from ggufvlm.gguf.names import model_key, quant_of, split_name
from ggufvlm.hardware.cpu import cpu_has_bf16
from ggufvlm.models.schema import FilePart, ModelFile, projector_preference

_MOST_NAMED = 8  # files, in a message
UNKNOWN_QUANT = "UNKNOWN"
# Q4_K_M is what most people take; then what is nearest to it in size and quality, smaller files first.
_DEFAULTS = (
    *("Q4_K_M", "Q4_K", "UD-Q4_K_XL", "Q4_K_S", "Q4_K_L", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "MXFP4", "INT4"),
    *("Q5_K_M", "Q5_K", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "Q3_K_M", "Q3_K_L", "IQ3_M", "F16", "BF16"),
)
_PROJECTOR = re.compile(r"mmproj|(?:^|[-._])projector(?=[-._])")
# Companions of a model: speculative heads, calibration data, adapters, voices.
_OTHER = re.compile(
    r"(?:^|[-._])(?:mtp|draft|drafter|eagle\d*|imatrix|calibration|lora|adapter|vocab|vocoder|audio|talker)(?=[-._])"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A language model, and the projectors beside it, best first.

    Attributes:
        others: names of other models in the same quantization.
    """

    model: ModelFile
    projectors: tuple[ModelFile, ...]
    others: tuple[str, ...] = ()


class SeveralModels(ModelError):  # noqa: N818 - reads as what happened
    """A repository holds several models in one quantization, and none is called like it."""


def is_projector(name: str) -> bool:
    """Whether a GGUF calls itself a projector."""
    return _PROJECTOR.search(_base(name)) is not None


def projector_order() -> tuple[str, ...]:
    """Quantizations of a projector, best first for this machine."""
    return projector_preference(has_bf16=cpu_has_bf16())


def pick(
    parts: Iterable[FilePart], repo: str, revision: str | None, quant: str | None = None, *, name: str | None = None
) -> Pick:
    """The model and its projectors among the files of a repository.

    Args:
        parts: the repository's GGUF files.
        repo: ``USER/REPO``; of several models the one that is called like it is taken.
        revision: the commit, if it is known.
        quant: matched as a whole, so that ``F16`` is never ``BF16``; ``None`` takes Q4_K_M or the nearest there is.
        name: of the model's file, in place of a quantization.

    Raises:
        SeveralModels: nobody can tell which one is meant.
        ModelError: no model, or none in this quantization or of this name.
    """
    files = _whole_files(parts, repo, revision)
    projectors = [file for file in files if is_projector(file.name)]
    models = [file for file in files if _is_model(file)]
    if not models:
        raise ModelError(f"{repo} holds no GGUF model", hint="look for a repository whose name ends in -GGUF")
    model, others = (_named(models, repo, name), ()) if name else _choose_model(models, repo, quant)
    ordered = sorted(projectors, key=lambda file: _distance(file, model))
    return Pick(model=model, projectors=tuple(ordered), others=others)


def require_projector(found: Pick, repo: str) -> None:
    """Raise PairingError if there is no projector."""
    if not found.projectors:
        raise PairingError(
            f"{repo} holds no projector (mmproj), so {_short(found.model.name)} cannot see",
            hint="--mmproj FILE, if you have its projector",
        )


def pick_quants(parts: Iterable[FilePart]) -> list[str]:
    """The quantizations of the models among the files, the preferred ones first."""
    models = filter(_is_model, _whole_files(parts, None, None))
    return list(dict.fromkeys(file.quant for file in sorted(models, key=_rank)))


def pick_names(parts: Iterable[FilePart], quant: str) -> list[str]:
    """The names of the models among the files that are in this quantization."""
    return [_short(file.name) for file in _whole_files(parts, None, None) if _is_model(file) and file.quant == quant]


def _is_model(file: ModelFile) -> bool:
    return not is_projector(file.name) and not _OTHER.search(_base(file.name))


def _whole_files(parts: Iterable[FilePart], repo: str | None, revision: str | None) -> list[ModelFile]:
    """Files, with the parts of split ones put together. A split file that lacks a part is left out."""
    groups: dict[tuple[str, int], dict[int, FilePart]] = {}
    for part in parts:
        name = split_name(part.name)
        key, no = ((name.stem, name.count), name.number) if name else ((part.name, 1), 1)
        groups.setdefault(key, {})[no] = part
    return [
        ModelFile(
            quant=quant_of(group[1].name) or UNKNOWN_QUANT,
            parts=tuple(group[no] for no in sorted(group)),
            repo=repo,
            revision=revision,
        )
        for (_, count), group in groups.items()
        if sorted(group) == list(range(1, count + 1))
    ]


def _named(models: list[ModelFile], repo: str, name: str) -> ModelFile:
    wanted = name.lower()
    for file in models:
        if any(wanted in (part.name.lower(), _base(part.name)) for part in file.parts):
            return file
    raise ModelError(f"{repo} has no {name}", hint=f"there is {_listed([_short(file.name) for file in models])}")


def _choose_model(models: list[ModelFile], repo: str, quant: str | None) -> tuple[ModelFile, tuple[str, ...]]:
    """The model that is meant, and the names of others in its quantization."""
    if quant is not None:
        wanted = [file for file in models if file.quant == quant.upper()]
        if not wanted:
            there = ", ".join(dict.fromkeys(file.quant for file in sorted(models, key=_rank)))
            raise ModelError(f"{repo} has no {quant.upper()}", hint=f"there is {there}")
        models = wanted
    best = min(models, key=_rank)
    same = [file for file in models if file.quant == best.quant]
    if len(same) == 1:
        return best, ()
    # Several models in one repository: the one that is called like the repository.
    title = model_key(repo.rpartition("/")[2])
    called_so = [file for file in same if model_key(file.name) == title]
    if len(called_so) != 1:
        names = sorted(_short(file.name) for file in same)
        what = f"{len(same)} models" if best.quant == UNKNOWN_QUANT else f"{len(same)} models in {best.quant}"
        raise SeveralModels(f"{repo} holds {what}: {_listed(names)}", hint=f"-m {repo}:{names[0]}")
    return called_so[0], tuple(sorted(_short(file.name) for file in same if file is not called_so[0]))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else "")


def _rank(file: ModelFile) -> int:
    return _DEFAULTS.index(file.quant) if file.quant in _DEFAULTS else len(_DEFAULTS)


def _distance(projector: ModelFile, model: ModelFile) -> tuple[int, int, str]:
    order = projector_order()
    rank = order.index(projector.quant) if projector.quant in order else len(order)
    return (-_likeness(projector.name, model.name), rank, projector.name)


def _likeness(name: str, title: str) -> int:
    """How many characters two names have in common at their beginnings; 0 if one of them names no model."""
    pairs = zip(model_key(name), model_key(title), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _base(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def as_parts(sizes: Mapping[str, int | None]) -> list[FilePart]:
    """The GGUF files among names of a repository, or of a folder of the cache."""
    return [
        FilePart(name=name, size=size or None)
        for name, size in sorted(sizes.items())
        if name.endswith(".gguf") and ":" not in name and not {"", ".", ".."} & set(re.split(r"[/\\]", name))
    ]
