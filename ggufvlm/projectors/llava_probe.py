"""Does the loaded llama.cpp compute CLIP towers with a class token rightly? Found out with a tiny projector.

In the library that this package was made with, ``clip_graph_llava`` (``tools/mtmd/models/llava.cpp``) puts the class
token behind the patches, while ``clip.cpp`` gives positions and takes rows as if it stood before them; and it leaves
out the last block unless ``clip.vision.feature_layer`` is set. Upstream: llama.cpp #25814.

The probe's tower does nothing but tell, number by number, what a row has been: which patch or the class token, which
row of the position table it got, and whether the last block ran. So a verdict needs no tolerance, and the repair ends
by itself with the first library that does not need it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import EngineError, ModelError
from ggufvlm.gguf.writer import NewTensor, encode_value, write_gguf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Order = Literal["right", "shifted", "unknown"]
_ORDERS: dict[str, Order] = {"right": "right", "shifted": "shifted", "unknown": "unknown"}

PATCH, SIDE, N_PATCHES, N_BLOCKS = 14, 28, 4, 2
WIDTH = 16  # numbers 0 to 2: colour, 3: class token, 4 to 8: row of the position table, 9: the last block ran
_CLASS, _POSITIONS, _LAST_BLOCK = 3, 4, 9
_F32, _F16 = 0, 1
_PATCHES = (0, 1, 2, None)  # red, green, blue, black: the last sets no number
# the numbers that are set in each row: which patch or the class token, and which row of the position table (0: its own)
_RIGHT = [(0, _POSITIONS + 1), (1, _POSITIONS + 2), (2, _POSITIONS + 3), (_POSITIONS + 4,)]
_SHIFTED = [(1, _POSITIONS + 1), (2, _POSITIONS + 2), (_POSITIONS + 3,), (_CLASS, _POSITIONS + 4)]

_verdicts: dict[str, ProbeVerdict] = {}


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """How the library computes a CLIP tower with a class token.

    Attributes:
        order: "right"; "shifted": the class token stands last, and positions and rows are taken as if it stood first;
            "unknown": neither, or the probe could not be run.
        skips_last_block: without ``clip.vision.feature_layer`` the last block of the file is left out.
    """

    order: Order
    skips_last_block: bool

    @property
    def text(self) -> str:
        """The verdict in one human-readable line."""
        return {
            "right": "this llama.cpp computes its images rightly",
            "shifted": "this llama.cpp misplaces the class token of its images (#25814), which is repaired",
            "unknown": "this llama.cpp computes its images in a way that is not known, and nothing is repaired",
        }[self.order]


_NOT_KNOWN = ProbeVerdict("unknown", False)


def examine_library(model: Path, width: int, *, remember: bool = True) -> ProbeVerdict:
    """The verdict on the loaded library; the probe runs once per library, then the answer is kept in the cache.

    Args:
        model: any language model; libmtmd looks at its vocabulary and width only.
        width: length of the vectors that it takes.
        remember: whether the answer may be written to the cache.
    """
    from ggufvlm.llama.probe import library_fingerprint

    fingerprint = library_fingerprint()
    known = _verdicts.get(fingerprint)
    if known is None:
        name = f"class-token-{hashlib.sha256(fingerprint.encode()).hexdigest()[:24]}"
        known = _parse(read_note(name) or "")
        if known is None:
            known = run_probe(model, width)
            if known == _NOT_KNOWN:  # perhaps this model's fault only
                return known
            if remember:
                write_note(name, f"{known.order} {'skips' if known.skips_last_block else 'runs'}")
        _verdicts[fingerprint] = known
    return known


def _parse(note: str) -> ProbeVerdict | None:
    order, _, blocks = note.partition(" ")
    return ProbeVerdict(_ORDERS[order], blocks == "skips") if order in _ORDERS and blocks in ("skips", "runs") else None


def run_probe(model: Path, width: int) -> ProbeVerdict:
    """Run the probe, whatever is known already."""
    from ggufvlm.llama.probe import encode_image

    if width < WIDTH:
        return _NOT_KNOWN
    try:
        with tempfile.TemporaryDirectory(prefix="ggufvlm-") as folder:
            path = Path(folder) / "probe.gguf"
            write_probe(path, width)
            return judge(encode_image(model, path, SIDE, SIDE, probe_image()))
    except (ModelError, EngineError, OSError) as error:  # a PairingError is a ModelError
        logger.warning("the probe for CLIP towers could not be run: %s", error)
        return _NOT_KNOWN


def write_probe(path: Path, width: int) -> None:
    """Write the probe: a projector that hands out vectors of ``width`` numbers."""
    with path.open("wb") as file:
        write_gguf(file, probe_pairs(width), probe_tensors(width))


def judge(rows: NDArray[np.float32]) -> ProbeVerdict:
    """The verdict from the probe's output, float32 [n_patches, width]."""
    found = read_rows(rows)
    skips = not any(_LAST_BLOCK in numbers for numbers in found)
    seen = [tuple(number for number in numbers if number != _LAST_BLOCK) for numbers in found]
    if seen == _RIGHT:
        return ProbeVerdict("right", skips)
    return ProbeVerdict("shifted", skips) if seen == _SHIFTED else _NOT_KNOWN


def read_rows(rows: NDArray[np.float32]) -> list[tuple[int, ...]]:
    """The indices of the numbers that are set, for each row of float32 [n_patches, width]."""
    return [tuple(index for index in range(WIDTH) if row[index] > 0.4) for row in rows]  # gelu(1) = 0.84


def probe_image() -> bytes:
    """RGB of the image: four patches, red, green, blue and black."""
    import numpy as np

    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for patch, color in enumerate(_PATCHES):
        if color is not None:
            top, left = PATCH * (patch // 2), PATCH * (patch % 2)
            image[top : top + PATCH, left : left + PATCH, color] = 255
    return image.tobytes()


def probe_pairs(width: int) -> dict[str, bytes]:
    """The metadata of a probe that hands out vectors of ``width`` numbers."""
    whole = {"embedding_length": WIDTH, "feed_forward_length": 2 * WIDTH, "block_count": N_BLOCKS}
    whole |= {"attention.head_count": 1, "projection_dim": width, "image_size": SIDE, "patch_size": PATCH}
    return {
        "general.architecture": encode_value("string", "clip"),
        "clip.projector_type": encode_value("string", "mlp"),
        "clip.has_vision_encoder": encode_value("bool", True),
        "clip.vision.attention.layer_norm_epsilon": encode_value("float32", 1e-5),
        "clip.vision.image_mean": encode_value("[float32]", [0.0] * 3),
        "clip.vision.image_std": encode_value("[float32]", [1.0] * 3),
        **{f"clip.vision.{key}": encode_value("uint32", value) for key, value in whole.items()},
    }


def probe_tensors(width: int) -> list[NewTensor]:
    """The tensors of a probe that hands out vectors of ``width`` numbers."""
    import numpy as np

    patches = np.zeros((WIDTH, 3, PATCH, PATCH), np.float32)
    for color in range(3):
        patches[color, color] = 1 / PATCH**2
    arrays = {
        "v.class_embd": np.eye(WIDTH)[_CLASS],
        "v.patch_embd.weight": patches,
        "v.position_embd.weight": np.eye(N_PATCHES + 1, WIDTH, k=_POSITIONS),
        "mm.0.weight": np.eye(WIDTH),
        "mm.0.bias": np.zeros(WIDTH),
        "mm.2.weight": np.eye(width, WIDTH),
        "mm.2.bias": np.zeros(width),
    }
    for block in range(N_BLOCKS):
        arrays |= _block(f"v.blk.{block}", is_last=block == N_BLOCKS - 1)
    return [probe_tensor(name, array) for name, array in arrays.items()]


def _block(name: str, *, is_last: bool) -> dict[str, NDArray[np.float64]]:
    """A block that adds nothing, but for the last one's mark."""
    import numpy as np

    arrays: dict[str, NDArray[np.float64]] = {}
    for part in ("q", "k", "v", "out"):
        arrays |= {
            f"{name}.attn_{part}.weight": np.zeros((WIDTH, WIDTH)),
            f"{name}.attn_{part}.bias": np.zeros(WIDTH),
        }
    for norm in ("ln1", "ln2"):
        arrays |= {f"{name}.{norm}.weight": np.ones(WIDTH), f"{name}.{norm}.bias": np.zeros(WIDTH)}
    arrays |= {f"{name}.ffn_up.weight": np.zeros((2 * WIDTH, WIDTH)), f"{name}.ffn_up.bias": np.zeros(2 * WIDTH)}
    arrays |= {f"{name}.ffn_down.weight": np.zeros((WIDTH, 2 * WIDTH))}
    arrays |= {f"{name}.ffn_down.bias": np.eye(WIDTH)[_LAST_BLOCK] * is_last}
    return arrays


def probe_tensor(name: str, array: NDArray[np.floating]) -> NewTensor:
    """A tensor of the probe from its numbers, rows first, as NumPy has them."""
    is_convolution = array.ndim == 4  # ggml's convolution wants its kernel in F16, as all converters write it
    data = array.astype("<f2" if is_convolution else "<f4").tobytes()
    return NewTensor(name=name, shape=array.shape[::-1], ggml_type=_F16 if is_convolution else _F32, data=lambda: data)
