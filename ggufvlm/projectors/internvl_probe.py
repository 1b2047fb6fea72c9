"""Does the loaded llama.cpp give InternVL's patches their own positions? Found out with a tiny projector.

In the library that this package was made with, ``clip_graph_internvl`` (``tools/mtmd/models/internvl.cpp``) puts the
class token behind the patches and adds the position table as it is, whose first row belongs to the class token. So
each patch gets the position of the patch before it. The patches themselves are the right ones, so a table whose rows
are moved on by one repairs it wholly (:mod:`ggufvlm.projectors.repair`).
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import EngineError, ModelError
from ggufvlm.gguf.writer import NewTensor, encode_value, write_gguf
from ggufvlm.projectors.llava_probe import SIDE, WIDTH, probe_image, probe_pairs, probe_tensor, probe_tensors, read_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Order = Literal["right", "shifted", "unknown"]
_ORDERS: dict[str, Order] = {"right": "right", "shifted": "shifted"}

# the numbers that are set in each row: which patch (the last one sets none), and which row of the position table
_RIGHT = [(0, 5), (1, 6), (2, 7), (8,)]
_SHIFTED = [(0, 4), (1, 5), (2, 6), (7,)]
_LAST_BLOCK = 9

_verdicts: dict[str, Order] = {}


def examine_library(model: Path, width: int) -> Order:
    """The verdict on the loaded library; the probe runs once per library, then the answer is kept in the cache.

    Args:
        model: any language model; libmtmd looks at its vocabulary and width only.
        width: length of the vectors that it takes.
    """
    from ggufvlm.llama.probe import library_fingerprint

    fingerprint = library_fingerprint()
    known = _verdicts.get(fingerprint)
    if known is None:
        name = f"internvl-positions-{hashlib.sha256(fingerprint.encode()).hexdigest()[:24]}"
        known = _ORDERS.get(read_note(name) or "")
        if known is None:
            known = run_probe(model, width)
            if known == "unknown":  # perhaps this model's fault only
                return known
            write_note(name, known)
        _verdicts[fingerprint] = known
    return known


def run_probe(model: Path, width: int) -> Order:
    """Run the probe, whatever is known already."""
    from ggufvlm.llama.probe import encode_image

    if width < WIDTH:
        return "unknown"
    try:
        with tempfile.TemporaryDirectory(prefix="ggufvlm-") as folder:
            path = Path(folder) / "probe.gguf"
            write_probe(path, width)
            return judge(encode_image(model, path, SIDE, SIDE, probe_image()))
    except (ModelError, EngineError, OSError) as error:  # a PairingError is a ModelError
        logger.warning("the probe for InternVL's positions could not be run: %s", error)
        return "unknown"


def write_probe(path: Path, width: int) -> None:
    """Write the probe: LLaVA's tower, which tells what each row has been, with InternVL's projector behind it."""
    import numpy as np

    pairs = probe_pairs(width)
    pairs["clip.projector_type"] = encode_value("string", "internvl")
    pairs["clip.vision.projector.scale_factor"] = encode_value("uint32", 1)
    names = {"mm.0": "mm.model.mlp.1", "mm.2": "mm.model.mlp.3"}
    tensors = [_renamed(tensor, names) for tensor in probe_tensors(width)]
    tensors += [
        probe_tensor("mm.model.mlp.0.weight", np.ones(WIDTH)),
        probe_tensor("mm.model.mlp.0.bias", np.zeros(WIDTH)),
    ]
    with path.open("wb") as file:
        write_gguf(file, pairs, tensors)


def _renamed(tensor: NewTensor, names: dict[str, str]) -> NewTensor:
    owner, _, kind = tensor.name.rpartition(".")
    return replace(tensor, name=f"{names.get(owner, owner)}.{kind}")


def judge(rows: NDArray[np.float32]) -> Order:
    """The verdict from the probe's output, float32 [n_patches, width]."""
    seen = [tuple(number for number in numbers if number != _LAST_BLOCK) for numbers in read_rows(rows)]
    return "right" if seen == _RIGHT else "shifted" if seen == _SHIFTED else "unknown"
