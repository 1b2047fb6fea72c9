"""The projector that lies beside a local model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ggufvlm.errors import ModelError, PairingError
from ggufvlm.gguf.convert import TYPES
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import model_key, split_name, split_parts
from ggufvlm.hardware.cpu import cpu_has_bf16
from ggufvlm.models.pairing import check_model, check_pair
from ggufvlm.models.schema import projector_preference

_OTHER_TYPES = 3  # between the second of the preferred types and the third
_NO_TENSORS = 10


def models_in(folder: Path) -> list[Path]:
    """The language models that lie in a folder, told by their names; of split ones the first part."""
    found = []
    for path in sorted(folder.glob("*.[gG][gG][uU][fF]")):
        part = split_name(path.name)
        if "mmproj" not in path.name.lower() and (part is None or part.number == 1):
            found.append(path)
    return found


def find_projector(model_path: Path) -> Path | None:
    """The projector (``*mmproj*.gguf``) that lies beside a model and fits it; None if there lies none at all.

    Of several that fit, the one named like the model is taken, then one without a name of its own
    (``mmproj-F16.gguf``); of several quantizations the first of :func:`~ggufvlm.models.schema.projector_preference`.

    Raises:
        PairingError: projectors of different models fit.
        ModelError: the model itself is not usable or lacks a part, or no projector beside it is usable.
    """
    split_parts(model_path)
    check_model(read_header(model_path, stop_at_vocabulary=True))
    own = model_key(model_path.name)
    files = sorted(model_path.parent.glob("*.[gG][gG][uU][fF]"))
    projectors = [path for path in files if "mmproj" in path.name.lower() and path.name != model_path.name]
    others = {model_key(path.name) for path in files if path not in projectors} - {own}
    fitting: list[Path] = []
    refusals: list[ModelError] = []
    for path in projectors:
        if model_key(path.name) in others:
            continue
        try:
            check_pair(model_path, path, thorough=False, allow_untyped=True)
        except ModelError as error:
            refusals.insert(0 if model_key(path.name) == own else len(refusals), error)
        else:
            fitting.append(path)
    if not fitting and refusals:
        first, more = refusals[0], f" ({len(refusals) - 1} more beside it are of no use either)"
        raise type(first)(f"{first}{more if refusals[1:] else ''}", hint=first.hint)
    return _choose(model_path, own, fitting)


def _choose(model_path: Path, own: str, fitting: Iterable[Path]) -> Path | None:
    groups: dict[str, list[Path]] = {}
    for path in fitting:
        groups.setdefault(model_key(path.name), []).append(path)
    group = groups.get(own) or groups.get("")
    if group is None and len(groups) > 1:
        names = ", ".join(path.name for paths in groups.values() for path in paths)
        raise PairingError(f"{model_path.name}: several projectors fit: {names}", hint="choose one with --mmproj FILE")
    group = group or next(iter(groups.values()), [])
    return min(group, key=lambda path: (_preference(path), path.name), default=None)


def _preference(path: Path) -> int:
    n_bytes: Counter[int] = Counter()
    for tensor in read_header(path).tensors.values():
        n_bytes[tensor.ggml_type] += tensor.n_bytes or 0
    if not n_bytes:
        return _NO_TENSORS
    order = projector_preference(has_bf16=cpu_has_bf16())
    names = {number: name for name, number in TYPES.items()}
    name = names.get(n_bytes.most_common(1)[0][0])
    return order.index(name) * 2 if name in order else _OTHER_TYPES
