"""Right images for LLaVA and its relatives from a llama.cpp that computes their CLIP tower wrongly.

What is wrong is explained in :mod:`ggufvlm.projectors.llava_probe`. It is repaired from outside, in three places:

1. libmtmd gets a derived projector: all blocks run (``clip.vision.feature_layer``), and the rows of the position table
   are rearranged for patches that arrive one slot late, with the class token last.
2. The image is made to fit the tower's square by us, and its patches are rolled by one: slot s shows patch
   ``(s - 1) mod N`` (:class:`~ggufvlm.media.ImagePlan`).
3. Row i of the output is then patch i, but for the last one, the class token: its left neighbour takes its place
   (``Projector``). So of 576 patches 575 are right.

InternVL needs a third of that only: the rows of its position table, moved on by one (:mod:`.internvl_probe`).

A derived projector is a whole file and is written once, into ``projectors`` in the cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.cache.folder import ANOTHER_FOLDER
from ggufvlm.errors import ModelError
from ggufvlm.files import replacing
from ggufvlm.gguf.header import GGUFHeader, read_header
from ggufvlm.gguf.writer import NewTensor, Pairs, copied, encode_value, read_pairs, read_tensor, write_gguf
from ggufvlm.models.pairing import PairReport
from ggufvlm.projectors.files import content_id, is_whole, projectors_folder, sweep

NO_REPAIR_VARIABLE = "GGUFVLM_NO_REPAIR"
"""Set to 1: projectors are loaded as they are. For comparisons; answers get worse."""

_VERSION = 1  # raise it when the same changes give another file
_POSITIONS = "v.position_embd.weight"
_FEATURE_LAYER = "clip.vision.feature_layer"
_CLIP_L_WIDTH, _CLIP_L_BLOCKS = 1024, 24
# what makes libmtmd cut an image of LLaVA 1.6 into tiles, where its patches could not be rolled
_TILING = ("clip.vision.image_grid_pinpoints", "clip.vision.mm_patch_merge_type")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What is to be changed for one projector; nothing by default.

    Attributes:
        add_type: ``clip.projector_type`` for a file of 2023 that has none.
        all_blocks: the last block of the file runs.
        class_token: the class token is put right: position table, rolled patches, last row.
        positions: InternVL's position table is moved on by one row.
        one_tile: that costs LLaVA 1.6 its tiles; it sees the whole image as one square.
    """

    add_type: str | None = None
    all_blocks: bool = False
    class_token: bool = False
    positions: bool = False
    one_tile: bool = False

    def __bool__(self) -> bool:
        return bool(self.add_type or self.all_blocks or self.class_token or self.positions)

    @property
    def text(self) -> str | None:
        """What is repaired, human-readable; ``None`` if nothing is."""
        if self.class_token:
            return "llava: class token, one tile" if self.one_tile else "llava: class token"
        if self.all_blocks:
            return "llava: last block"
        if self.positions:
            return "internvl: positions"
        return f"projector type {self.add_type}" if self.add_type else None

    @property
    def tag(self) -> str:
        """What the derived file's name says of the repair."""
        flags = [("b", self.all_blocks), ("c", self.class_token), ("p", self.positions), ("t", self.one_tile)]
        return f"v{_VERSION}{''.join(letter for letter, is_set in flags if is_set)}{self.add_type or ''}"


def is_switched_off() -> bool:
    """Whether the user wants projectors as they are."""
    return os.environ.get(NO_REPAIR_VARIABLE, "") not in ("", "0")


def may_need_repair(report: PairReport) -> bool:
    """Whether it is a projector of the kind that the defect is about: a CLIP tower with class token and an MLP."""
    return report.projector_type == "mlp" and report.has_class_embedding


def find_repair(report: PairReport, model: Path) -> Repair:
    """What has to be changed so that the loaded llama.cpp computes this projector rightly.

    The library is asked only for a projector of the kind in question; others cost nothing.
    """
    add_type = report.projector_type if report.projector_type_inferred else None
    if is_switched_off():
        return Repair(add_type=add_type)
    if report.projector_type == "internvl" and report.has_class_embedding:
        from ggufvlm.projectors import internvl_probe

        return Repair(positions=internvl_probe.examine_library(model, report.n_embd_inp) == "shifted")
    if not may_need_repair(report):
        return Repair(add_type=add_type)
    from ggufvlm.projectors.llava_probe import examine_library

    verdict = examine_library(model, report.n_embd_inp)
    class_token = verdict.order == "shifted"
    return Repair(
        add_type=add_type,
        all_blocks=verdict.skips_last_block,
        class_token=class_token,
        one_tile=class_token and report.has_image_grid,
    )


def derived_projector(source: Path, repair: Repair, progress: Callable[[int, int], None] | None = None) -> Path:
    """The file to load in place of ``source``; it is written if it is not in the cache, or not whole.

    Args:
        source: the projector as it was published.
        repair: what to change.
        progress: gets the number of written tensors and of all; what it raises ends the work and leaves nothing.

    Raises:
        ModelError: the source is damaged, or the cache cannot be written.
    """
    if not repair:
        return source
    target = projectors_folder() / f"{content_id(source)}-{repair.tag}.gguf"
    if is_whole(target):
        return target
    sweep(target.parent)
    header = read_header(source)
    pairs, tensors = _changed_pairs(source, header, repair), _changed_tensors(source, header, repair)
    try:
        with replacing(target) as partial, partial.open("wb") as file:
            write_gguf(file, pairs, tensors, progress=progress)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave a file of the right size with zeros in it
    except ModelError as error:
        if is_whole(target):  # another process was faster, and Windows does not replace a file that is open
            return target
        raise ModelError(str(error), hint=error.hint or ANOTHER_FOLDER) from error
    return target


def _changed_pairs(source: Path, header: GGUFHeader, repair: Repair) -> Pairs:
    pairs = read_pairs(source, header)
    if repair.add_type:
        pairs["clip.projector_type"] = encode_value("string", repair.add_type)
    if repair.all_blocks and _FEATURE_LAYER not in pairs:
        pairs[_FEATURE_LAYER] = encode_value("[int32]", [_feature_layer(header)])
    if repair.one_tile:
        for key in _TILING:
            pairs.pop(key, None)
    return pairs


def _feature_layer(header: GGUFHeader) -> int:
    """The block after which LLaVA takes the tower's rows: the last but one of CLIP's, which converters leave out."""
    n_blocks = header.integer("clip.vision.block_count") or 0
    is_uncut = (header.integer("clip.vision.embedding_length"), n_blocks) == (_CLIP_L_WIDTH, _CLIP_L_BLOCKS)
    return n_blocks - 1 if is_uncut else n_blocks


def _changed_tensors(source: Path, header: GGUFHeader, repair: Repair) -> list[NewTensor]:
    tensors = copied(source, header)
    if not (repair.class_token or repair.positions):
        return tensors
    table = header.tensors.get(_POSITIONS)
    size, patch = (header.integer(f"clip.vision.{key}_size") or 1 for key in ("image", "patch"))
    side = size // patch
    is_readable = table is not None and table.n_bytes is not None and table.shape[2:] in ((), (1,))
    if table is None or not is_readable or size % patch or table.shape[1] != side * side + 1:
        raise ModelError(f"{source.name}: damaged: its position table is not one of {side}x{side} patches")
    change = rearrange if repair.class_token else rotate
    rearranged = NewTensor(
        name=_POSITIONS,
        shape=table.shape,
        ggml_type=table.ggml_type,
        data=lambda: change(read_tensor(source, header, table), side * side),
    )
    return [rearranged if tensor.name == _POSITIONS else tensor for tensor in tensors]


def rearrange(table: bytes, n_patches: int) -> bytes:
    """The position table's rows (class token first) for rolled patches with the class token behind them."""
    size = len(table) // (n_patches + 1)
    rows = [table[start : start + size] for start in range(0, len(table), size)]
    return b"".join([*(rows[1 + (slot - 1) % n_patches] for slot in range(n_patches)), rows[0]])


def rotate(table: bytes, n_patches: int) -> bytes:
    """The position table's rows (class token first) for patches that stay, with the class token behind them."""
    size = len(table) // (n_patches + 1)
    return table[size:] + table[:size]
