"""``quantize(source, target, type)``: a language model or a projector in a smaller type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ggufvlm.errors import ModelError, PairingError, UsageError
from ggufvlm.files import check_output
from ggufvlm.gguf.convert import TYPES as PROJECTOR_TYPES
from ggufvlm.gguf.header import GGUFHeader, read_header
from ggufvlm.hardware.cpu import default_threads

# Names of llama-quantize -> enum llama_ftype; without those that need an importance matrix or a special training
MODEL_TYPES = {
    **{"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8},
    **{"Q4_K_M": 15, "Q4_K_S": 14, "Q4_1": 3, "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12},
    **{"Q3_K_S": 11, "IQ3_M": 27, "IQ3_S": 26, "Q2_K": 10},
}
_ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M", "FP16": "F16", "FP32": "F32"}
_NEED_IMATRIX = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"})
# ggml types with fewer than 8 bits a weight
_COARSE = frozenset({2, 3, 6, 7, *range(10, 15), *range(16, 24), 29, 34, 35, 39, 40, 41, 42})

Progress = Callable[[int, int], None]
"""Gets the number of finished tensors and of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeResult:
    """What :func:`quantize` wrote. Sizes are bytes; those of a split model are of all its parts."""

    source: Path
    target: Path
    type: str
    is_projector: bool
    size_before: int
    size_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeJob:
    """A job that has been checked. ``coarse_source``: the weights already had fewer than 8 bits."""

    source: Path
    target: Path
    type: str
    header: GGUFHeader
    parts: tuple[Path, ...]

    @property
    def is_projector(self) -> bool:
        return self.header.is_projector

    @property
    def coarse_source(self) -> bool:
        n_bytes: Counter[int] = Counter()
        for tensor in self.header.tensors.values():
            n_bytes[tensor.ggml_type] += tensor.n_bytes or 0
        return bool(n_bytes) and n_bytes.most_common(1)[0][0] in _COARSE


def prepare(source: Path, target: Path, type_name: str, *, force: bool = False) -> QuantizeJob:
    """Check everything that can be checked before the work begins.

    Args:
        source: the file to make smaller.
        target: where the new one goes.
        type_name: its type, as llama-quantize spells it.
        force: whether an existing file may be replaced.

    Raises:
        UsageError: an unknown type, or a target that exists or is the source itself.
        ModelError: the source is missing, damaged or not a model.
    """
    header = read_header(source)
    type_name = _type_name(type_name, PROJECTOR_TYPES if header.is_projector else MODEL_TYPES, header)
    parts = _check(source, header)
    for part in parts:
        if target.exists() and target.samefile(part):
            raise UsageError(f"{target} is the source itself", hint="give the result another name")
    if target.is_dir():
        raise UsageError(f"{target} is a folder", hint="name the file to write")
    check_output(target, is_replaced=True)
    if target.exists() and not force:
        raise UsageError(f"{target} exists", hint="--force overwrites it")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: no such folder")
    return QuantizeJob(source=source, target=target, type=type_name, header=header, parts=parts)


def run(job: QuantizeJob, *, n_threads: int | None = None, progress: Progress | None = None) -> QuantizeResult:
    """Do the job. The target appears when it is complete; after a failure or Ctrl-C nothing is left behind.

    Raises:
        ModelError: the source is damaged, or the target cannot be written.
        EngineError: llama.cpp failed.
    """
    if job.is_projector:
        from ggufvlm.gguf.convert import convert_projector

        convert_projector(job.source, job.header, job.target, job.type, n_threads or default_threads(), progress)
    else:
        from ggufvlm.llama.quantize import quantize_model

        quantize_model(job.source, job.target, MODEL_TYPES[job.type], n_threads=n_threads, progress=progress)
    return QuantizeResult(
        source=job.source,
        target=job.target,
        type=job.type,
        is_projector=job.is_projector,
        size_before=sum(part.stat().st_size for part in job.parts),
        size_after=job.target.stat().st_size,
    )


def quantize(
    source: Path,
    target: Path,
    type_name: str,
    *,
    force: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> QuantizeResult:
    """Write a model or a projector in another type.

    Args:
        source: a GGUF; of a split model its first part.
        target: the file to write, always one.
        type_name: a key of :data:`MODEL_TYPES`, for a projector of ``PROJECTOR_TYPES``; in any case.
        force: overwrite ``target``.
        n_threads: CPU threads; ``None`` is the physical cores.
        progress: gets the number of finished tensors and of all.

    Raises: as :func:`prepare` and :func:`run`.
    """
    return run(prepare(source, target, type_name, force=force), n_threads=n_threads, progress=progress)


def _type_name(given: str, known: dict[str, int], header: GGUFHeader) -> str:
    name = given.upper().replace("-", "_")
    name = _ALIASES.get(name, name)
    if name in known:
        return name
    kinds = ", ".join(known)
    if header.is_projector and name in MODEL_TYPES:
        raise UsageError(f"a projector cannot be {name}: libmtmd loses too much", hint=f"types: {kinds}")
    if name in _NEED_IMATRIX:
        raise UsageError(f"{name} needs an importance matrix, which ggufvlm cannot make", hint="take Q2_K or IQ3_S")
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else f"types: {kinds}"
    raise UsageError(f"unknown type: {given}", hint=hint)


def _check(source: Path, header: GGUFHeader) -> tuple[Path, ...]:
    from ggufvlm.gguf.names import split_parts
    from ggufvlm.models.pairing import check_model, check_projector
    from ggufvlm.models.soundness import check_vision_tower

    if header.is_projector:
        projector_type, _ = check_projector(header, allow_untyped=True)
        check_vision_tower(header, projector_type)
        return (source,)
    check_model(header)
    if header.text("general.type") not in (None, "model"):
        raise PairingError(f"{source.name} is of the type {header.text('general.type')}")
    parts = tuple(split_parts(source))
    for part in parts[1:]:
        other = read_header(part)
        if (other.size_needed or 0) > other.file_size:
            raise ModelError(f"{part.name}: truncated", hint="download the file again")
    return parts
