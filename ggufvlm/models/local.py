"""The projector that lies beside a local model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ggufvlm.errors import ModelError, PairingError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import SPLIT_NAME
from ggufvlm.models.pairing import check_model, check_pair

_QUANT = re.compile(
    r"(?:^|[-_.])(?:ud[-_])?(?:b?f16|f32|fp16|fp32|t?q\d(?:_[a-z0-9]+)*|iq\d(?:_[a-z0-9]+)*|mxfp4|nvfp4)(?=$|[-_.])"
)
# ggml type of most bytes -> order of choice: F16, Q8_0, other quants, BF16 (slow or absent on older hardware), F32
_PREFERENCE = {1: 0, 8: 1, 30: 3, 0: 4}


def find_projector(model_path: Path) -> Path | None:
    """The projector (``*mmproj*.gguf``) that lies beside a model and fits it, or None.

    Of several that fit, the one named like the model is taken, then one without a name of its own
    (``mmproj-F16.gguf``); of several quantizations F16, then Q8_0, BF16, F32.

    Raises PairingError if projectors of different models fit, ModelError if the model itself is not usable, or if a
    projector named like it is not.
    """
    check_model(read_header(model_path, stop_at_vocabulary=True))
    own = _bare_name(model_path)
    files = sorted(model_path.parent.glob("*.[gG][gG][uU][fF]"))
    projectors = [path for path in files if "mmproj" in path.name.lower() and path.name != model_path.name]
    others = {_bare_name(path) for path in files if path not in projectors} - {own}
    fitting: list[Path] = []
    refusals: list[ModelError] = []
    for path in projectors:
        if _bare_name(path) in others:
            continue
        try:
            check_pair(model_path, path, thorough=False, allow_untyped=True)
        except ModelError as error:
            if _bare_name(path) == own:
                refusals.append(error)
        else:
            fitting.append(path)
    if not fitting and refusals:
        raise refusals[0]
    return _choose(model_path, own, fitting)


def _choose(model_path: Path, own: str, fitting: Iterable[Path]) -> Path | None:
    groups: dict[str, list[Path]] = {}
    for path in fitting:
        groups.setdefault(_bare_name(path), []).append(path)
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
    return _PREFERENCE.get(n_bytes.most_common(1)[0][0], 2) if n_bytes else 5


def _bare_name(path: Path) -> str:
    """A file's name less part number, quantization, punctuation and the words that every file has."""
    found = SPLIT_NAME.fullmatch(path.name)
    stem = _QUANT.sub("", (found["stem"] if found else path.stem).lower())
    words = re.split(r"[^a-z0-9]+", stem)
    return "".join(word for word in words if word not in ("mmproj", "model", "text", "ggml", "gguf"))
