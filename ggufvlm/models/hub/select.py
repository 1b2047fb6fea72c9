"""Which files of a repository make up a model that can see: chosen by name alone. Pure: no network, no disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from ggufvlm.errors import ModelError, PairingError
from ggufvlm.models.schema import FilePart, ModelFile

UNKNOWN_QUANT = "UNKNOWN"
# Q4_K_M is what most people take; then what is nearest to it in size and quality, smaller files first.
_DEFAULTS = (
    *("Q4_K_M", "Q4_K", "UD-Q4_K_XL", "Q4_K_S", "Q4_K_L", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "MXFP4", "INT4"),
    *("Q5_K_M", "Q5_K", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "Q3_K_M", "Q3_K_L", "IQ3_M", "F16", "BF16"),
)
_QUANT = re.compile(
    r"(?:^|[-._/])((?:ud[-_])?(?:bf16|fp?16|fp?32|(?:i?q|tq|int)\d[a-z0-9]*(?:_[a-z0-9]+)*|(?:mx|nv)fp4))(?=$|[-._/])"
)
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PROJECTOR = re.compile(r"mmproj|(?:^|[-._])projector(?=[-._])")
# Companions of a model: speculative heads, calibration data, adapters, voices.
_OTHER = re.compile(
    r"(?:^|[-._])(?:mtp|draft|drafter|eagle\d*|imatrix|calibration|lora|adapter|vocab|vocoder|audio|talker)(?=[-._])"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A language model, and the projectors beside it, best first."""

    model: ModelFile
    projectors: tuple[ModelFile, ...]


def quant_of(name: str) -> str | None:
    """The quantization that a file name tells: the last word that looks like one, in capitals.

    >>> quant_of("mmproj-Model-BF16.gguf"), quant_of("model.Q4_K_M.gguf"), quant_of("model.gguf")
    ('BF16', 'Q4_K_M', None)
    """
    stem = re.sub(r"(?:-\d{5}-of-\d{5})?\.gguf$", "", name.lower())
    found: list[str] = _QUANT.findall(stem.rpartition("/")[2]) or _QUANT.findall(stem)
    return found[-1].upper().replace("FP16", "F16").replace("FP32", "F32").replace("UD_", "UD-") if found else None


def is_projector(name: str) -> bool:
    """Whether a GGUF calls itself a projector."""
    return _PROJECTOR.search(_base(name)) is not None


def projector_order() -> tuple[str, ...]:
    """Quantizations of a projector, best first. BF16 is slow, or fails, where the hardware lacks the type."""
    return ("F16", "BF16", "Q8_0", "F32") if _cpu_has_bf16() else ("F16", "Q8_0", "BF16", "F32")


@cache
def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\bavx512_bf16\b", flags, re.MULTILINE) is not None


def pick(parts: Iterable[FilePart], repo: str, revision: str | None, quant: str | None = None) -> Pick:
    """The model and its projectors among the files of a repository.

    Args:
        quant: matched as a whole, so that ``F16`` is never ``BF16``; ``None`` takes Q4_K_M or the nearest there is.

    Raises:
        ModelError: no model, or none in this quantization.
    """
    files = _whole_files(parts, repo, revision)
    projectors = [file for file in files if is_projector(file.name)]
    models = [file for file in files if _is_model(file)]
    if not models:
        raise ModelError(f"{repo} holds no GGUF model", hint="look for a repository whose name ends in -GGUF")
    model = _choose_model(models, repo, quant)
    return Pick(model=model, projectors=tuple(sorted(projectors, key=lambda file: _distance(file, model))))


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


def _is_model(file: ModelFile) -> bool:
    return not is_projector(file.name) and not _OTHER.search(_base(file.name))


def _whole_files(parts: Iterable[FilePart], repo: str | None, revision: str | None) -> list[ModelFile]:
    """Files, with the parts of split ones put together. A split file that lacks a part is left out."""
    groups: dict[tuple[str, int], dict[int, FilePart]] = {}
    for part in parts:
        found = _SPLIT.fullmatch(part.name)
        key, no = ((found["stem"], int(found["count"])), int(found["no"])) if found else ((part.name, 1), 1)
        groups.setdefault(key, {})[no] = part
    return [
        ModelFile(
            quant=_quant_or_unknown(group[1].name),
            parts=tuple(group[no] for no in sorted(group)),
            repo=repo,
            revision=revision,
        )
        for (_, count), group in groups.items()
        if sorted(group) == list(range(1, count + 1))
    ]


def _quant_or_unknown(name: str) -> str:
    quant = quant_of(name)
    return quant if quant and re.fullmatch(r"[A-Z0-9]+(?:[_-][A-Z0-9]+)*", quant) else UNKNOWN_QUANT


def _choose_model(models: list[ModelFile], repo: str, quant: str | None) -> ModelFile:
    if quant is not None:
        wanted = [file for file in models if file.quant == quant.upper()]
        if not wanted:
            there = ", ".join(dict.fromkeys(file.quant for file in sorted(models, key=_rank)))
            raise ModelError(f"{repo} has no {quant.upper()}", hint=f"there is {there}")
        models = wanted
    # Several models in one repository: the one that is called like the repository.
    title = repo.rpartition("/")[2].lower()
    return min(models, key=lambda file: (_rank(file), -_likeness(file.name, title), len(file.name), file.name))


def _rank(file: ModelFile) -> int:
    return _DEFAULTS.index(file.quant) if file.quant in _DEFAULTS else len(_DEFAULTS)


def _distance(projector: ModelFile, model: ModelFile) -> tuple[int, int, str]:
    order = projector_order()
    rank = order.index(projector.quant) if projector.quant in order else len(order)
    title = re.sub(r"mmproj|projector", "", _base(projector.name)).strip("-._")
    return (-_likeness(title, _base(model.name)) if _has_title(title) else 0, rank, projector.name)


def _has_title(name: str) -> bool:
    """Whether a projector is called like some model, and not just ``mmproj-F16.gguf`` or ``mmproj-model-f16.gguf``."""
    words = set(re.split(r"[^a-z0-9]+", _QUANT.sub("", name.removesuffix(".gguf"))))
    return bool(words - {"", "model", "ggml", "gguf"})


def _likeness(name: str, title: str) -> int:
    pairs = zip(_plain(name), _plain(title), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _QUANT.sub("", _base(name).removesuffix(".gguf")))


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
