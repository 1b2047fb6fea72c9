"""Numbers, shapes and types of a header that cannot all be true. llama.cpp ends the process on most of these.

What it checks itself, and refuses in a sentence, is left to it. Rules are kept to what holds for every published file:
a tower that may be built in another way than :data:`_PLAIN_TOWERS` is only looked at where that does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite, isqrt, prod
from typing import NoReturn

from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import GGUFHeader, TensorInfo, Value

_F32, _F16, _BF16 = 0, 1, 30
_PLAIN_NUMBERS = frozenset({24, 25, 26, 27, 28})  # I8, I16, I32, I64, F64: no weight is kept in them
_LOOKUP = "tid2eid"  # the one table of whole numbers, of models that choose experts by token
_BLOCK = re.compile(r"(?:v\.)?blk\.(\d+)\.(.+)")

# By the last words of a key: the least and the greatest value. Some four times what the largest models have.
_BOUNDS = {
    "block_count": (1, 2048),
    "embedding_length": (1, 1 << 18),
    "feed_forward_length": (0, 1 << 20),
    "attention.head_count": (0, 4096),
    "attention.head_count_kv": (0, 4096),
    "attention.head_dim": (0, 1 << 14),
    "attention.sliding_window": (0, 1 << 30),
    "attention.key_length": (0, 1 << 14),
    "attention.value_length": (0, 1 << 14),
    "rope.dimension_sections": (0, 1 << 14),
    "rope.dimension_count": (0, 1 << 14),
    "context_length": (1, 1 << 30),
    "expert_count": (0, 1 << 14),
    "expert_used_count": (0, 1 << 14),
    "vision.block_count": (0, 1024),
    "vision.image_size": (0, 8192),
    "vision.patch_size": (1, 1024),
    "vision.projection_dim": (0, 1 << 18),
    "vision.spatial_merge_size": (0, 64),
    "vision.projector.scale_factor": (0, 64),
    "vision.n_wa_pattern": (0, 1024),
    "vision.window_size": (0, 4096),
    "vision.preproc_image_size": (0, 1 << 14),
    "vision.preproc_min_tiles": (0, 256),
    "vision.preproc_max_tiles": (0, 256),
    "vision.image_min_pixels": (0, 1 << 28),
    "vision.image_max_pixels": (0, 1 << 28),
    "vision.feature_layer": (-64, 1024),
    "vision.image_grid_pinpoints": (1, 1 << 14),
}
_VECTORS = frozenset({"v.class_embd", "v.token_embd.img_break"})
_CONVOLUTIONS = (".shortconv.conv.weight", ".ssm_conv1d.weight")
_MAX_SCALED = 64  # preproc_image_size / image_size: an image becomes the square of it many tiles

# Projectors whose tower is a row of equal transformer blocks behind one convolution, as all their published files show.
_PLAIN = (
    "mlp ldp ldpv2 resampler adapter qwen2vl_merger qwen2.5vl_merger qwen2.5o qwen3vl_merger gemma3 gemma4v idefics3 "
    "internvl lfm2 pixtral lightonocr janus_pro llama4 kimivl phi4 hunyuanvl glm4v cogvlm granite4_vision dots_ocr "
    "paddleocr"
)
_PLAIN_TOWERS = frozenset(_PLAIN.split())
_TWO_FRAMES = frozenset({"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"})
"""Those that see an image as two frames of a film, each with a convolution of its own."""
_NEEDED = {
    "qwen3vl_merger": ("v.patch_embd.bias", "v.position_embd.weight"),
    "internvl": ("v.position_embd.weight",),
    "lfm2": ("v.position_embd.weight",),
    "mlp": ("mm.0.weight", "mm.0.bias"),
}
"""Tensors that libmtmd uses without a look whether they are there."""
_SQUARE_TABLES = frozenset({"qwen3vl_merger", "gemma3", "idefics3", "lfm2", "internvl"})
"""Those whose position table has a row for each patch of a square."""
_FIXED_SIZES = frozenset({"gemma3", "idefics3", "internvl", "mlp"})
"""Those that scale each image, or each tile of one, to one size."""
_MERGED = {"idefics3": "mm.model.fc.weight", "lfm2": "mm.1.weight", "internvl": "mm.model.mlp.1.weight"}
"""The matrix that takes a square of merged patches, by the type of the projector."""


def check_language_model(header: GGUFHeader) -> None:
    """Raise the ModelError for a language model whose header contradicts itself; without its tensors, in part only."""
    architecture = header.architecture or ""
    _check_numbers(header, architecture)
    if not header.complete:
        return
    _check_types(header)
    n_blocks, n_spare = (
        header.integer(f"{architecture}.{key}") or 0 for key in ("block_count", "nextn_predict_layers")
    )
    found = max(_blocks(header.tensors), default=None)
    if found is not None and not header.integer("split.count") and not 0 <= n_blocks - (found + 1) <= n_spare:
        _refuse(header, f"{architecture}.block_count is {n_blocks}, and there are {found + 1} blocks of tensors")


def check_vision_tower(header: GGUFHeader, projector_type: str) -> None:
    """Raise the ModelError for a projector whose header contradicts itself.

    Args:
        header: the projector's whole header.
        projector_type: as it names it, or as it was inferred.
    """
    _check_numbers(header, "clip")
    _check_types(header)
    _check_biases(header)
    size, scaled, side = (
        header.integer(f"clip.vision.{key}") or 0 for key in ("image_size", "preproc_image_size", "patch_size")
    )
    if 0 < size < side:
        _refuse(header, f"clip.vision.image_size is {size}, and clip.vision.patch_size {side}")
    if size and scaled > _MAX_SCALED * size:
        _refuse(header, f"clip.vision.preproc_image_size is {scaled}, and clip.vision.image_size {size}")
    if projector_type in _PLAIN_TOWERS:
        _check_heads(header)
        _check_tower(header)
        _check_patches(header, projector_type)
        _check_merging(header, projector_type)
    if projector_type in _TWO_FRAMES | _FIXED_SIZES | {"lfm2", "pixtral"}:
        _check_norms(header)


def _check_numbers(header: GGUFHeader, prefix: str) -> None:
    for key, value in header.metadata.items():
        if not key.startswith(f"{prefix}."):
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if key.endswith("rope.dimension_sections") and not any(numbers):
            _refuse(header, f"{key} is all zero")
        least, greatest = _bounds(key.removeprefix(f"{prefix}."))
        for number in numbers:
            if isinstance(number, float) and not isfinite(number):
                _refuse(header, f"{key} is {number}")
            if key.endswith("epsilon") and not (isinstance(number, float) and 0 < number < 1):
                _refuse(header, f"{key} is {_shown(number)}")
            if isinstance(number, int) and not isinstance(number, bool) and not least <= number <= greatest:
                _refuse(header, f"{key} is {number}, and {least} to {greatest} are possible")


def _bounds(key: str) -> tuple[float, float]:
    inner = key.removeprefix("vision.")
    return _BOUNDS.get(key) or _BOUNDS.get(inner) or (float("-inf"), float("inf"))


def _check_types(header: GGUFHeader) -> None:
    for name, tensor in header.tensors.items():
        if tensor.ggml_type in _PLAIN_NUMBERS and _LOOKUP not in name:
            _refuse(header, f"the tensor {name} holds whole numbers or such of 64 bits")
        if not prod(tensor.shape):
            _refuse(header, f"the tensor {name} is empty")
        needs_f32 = (len(tensor.shape) == 1 and name.endswith((".weight", ".bias"))) or name in _VECTORS
        needs_f32 = needs_f32 or name.endswith(_CONVOLUTIONS)
        if needs_f32 and tensor.ggml_type != _F32:
            _refuse(header, f"the tensor {name} is not F32")


def _check_biases(header: GGUFHeader) -> None:
    for name, bias in header.tensors.items():
        weight = header.tensors.get(f"{name.removesuffix('.bias')}.weight") if name.endswith(".bias") else None
        if weight is not None and weight.shape and prod(bias.shape) != weight.shape[-1]:
            _refuse(header, f"the tensor {name} has the shape {bias.shape}, and its weight {weight.shape}")


def _check_heads(header: GGUFHeader) -> None:
    keys = ("embedding_length", "attention.head_count", "attention.head_dim")
    width, n_heads, given = (header.integer(f"clip.vision.{key}") or 0 for key in keys)
    if not given and n_heads and width % n_heads:
        why = f"clip.vision.embedding_length {width}"
        _refuse(header, f"clip.vision.attention.head_count is {n_heads}, which does not divide {why}")


def _check_tower(header: GGUFHeader) -> None:
    width = header.integer("clip.vision.embedding_length") or 0
    n_blocks = header.integer("clip.vision.block_count") or 0
    # llama.cpp itself refuses a file where one of its blocks is missing
    blocks = {index: block for index, block in sorted(_blocks(header.tensors).items()) if index < n_blocks}
    if not n_blocks and "v.blk.0.attn_out.weight" in header.tensors:
        _refuse(header, "clip.vision.block_count is 0, and there are blocks of tensors")
    for index, block in blocks.items():
        if index and 0 in blocks:
            _check_alike(header, blocks[0], block, index)
        _check_block(header, block, index, width)
    for name in ("v.class_embd", "v.position_embd.weight"):
        table = header.tensors.get(name)
        if table is not None and table.shape[:1] != (width,):
            _refuse(
                header, f"the tensor {name} has the shape {table.shape}, and clip.vision.embedding_length is {width}"
            )


def _check_norms(header: GGUFHeader) -> None:
    """What goes over each row once, before the first block and behind the last one; and the row of the class."""
    width = header.integer("clip.vision.embedding_length") or 0
    for name in ("v.pre_ln.weight", "v.post_ln.weight", "v.class_embd"):
        row = header.tensors.get(name)
        if row is not None and prod(row.shape) != width:
            _refuse(header, f"the tensor {name} has the shape {row.shape}, and clip.vision.embedding_length is {width}")


def _check_patches(header: GGUFHeader, projector_type: str) -> None:
    """The convolutions over the pixels, and the table of positions."""
    tensors = header.tensors
    width, side = (header.integer(f"clip.vision.{key}") or 0 for key in ("embedding_length", "patch_size"))
    name = "v.patch_embd.weight"
    for frame in (name, f"{name}.1") if projector_type in _TWO_FRAMES else (name,):
        patches = tensors.get(frame)
        if patches is None and "v.blk.0.attn_out.weight" in tensors:
            _refuse(header, f"the tensor {frame} of a {projector_type} projector is missing")
        if (
            patches is not None
            and patches.shape != (side, side, 3, width)
            and (len(patches.shape) == 4 or frame != name)
        ):
            why = f"clip.vision.patch_size is {side} and clip.vision.embedding_length {width}"
            _refuse(header, f"the tensor {frame} has the shape {patches.shape}, and {why}")
    for name in _NEEDED.get(projector_type, ()):
        if name not in tensors and "v.blk.0.attn_out.weight" in tensors:
            _refuse(header, f"the tensor {name} of a {projector_type} projector is missing")
    has_one_size = projector_type in _FIXED_SIZES and "v.blk.0.attn_out.weight" in tensors
    if has_one_size and not header.integer("clip.vision.image_size"):
        _refuse(header, f"clip.vision.image_size is 0, and a {projector_type} projector takes one size only")
    table = tensors.get("v.position_embd.weight")
    if table is not None and projector_type in _SQUARE_TABLES:
        if table.ggml_type != _F32:
            _refuse(header, "the tensor v.position_embd.weight is not F32")
        rows = prod(table.shape[1:]) - ("v.class_embd" in tensors)
        if isqrt(max(rows, 0)) ** 2 != rows:
            _refuse(header, f"the tensor v.position_embd.weight has {rows} rows, which are no square of patches")


def _check_merging(header: GGUFHeader, projector_type: str) -> None:
    """What makes vectors for the language model of the tower's rows."""
    tensors = header.tensors
    width, factor = (
        header.integer(f"clip.vision.{key}") or 0 for key in ("embedding_length", "projector.scale_factor")
    )
    merged = tensors.get(_MERGED.get(projector_type, ""))
    is_whole = "v.blk.0.attn_out.weight" in tensors
    factor = factor or 1
    if merged is not None and is_whole and merged.shape[:1] != (width * factor**2,):
        why = f"its tensor {_MERGED[projector_type]} has the shape {merged.shape}"
        _refuse(header, f"clip.vision.projector.scale_factor is {factor}, and {why}")
    bias, given = tensors.get("mm.2.bias"), header.integer("clip.vision.projection_dim")
    if projector_type == "qwen2.5vl_merger" and header.integer("clip.vision.n_wa_pattern") == 1:
        _refuse(header, "clip.vision.n_wa_pattern is 1, which leaves no block with windows")
    if projector_type == "qwen2.5vl_merger" and is_whole and bias is not None and bias.shape != (given,):
        _refuse(header, f"clip.vision.projection_dim is {given}, and the tensor mm.2.bias has the shape {bias.shape}")
    merge, first = header.integer("clip.vision.spatial_merge_size"), tensors.get("mm.0.weight")
    if projector_type in _TWO_FRAMES and is_whole and first is not None and first.shape[0] != width * (merge or 2) ** 2:
        why = f"the tensor mm.0.weight has the shape {first.shape}"
        _refuse(header, f"clip.vision.spatial_merge_size is {merge or 2}, and {why}")
    if projector_type == "gemma3" and is_whole:
        _check_gemma3(header, width)
    merge = merge or 1
    if projector_type == "pixtral" and is_whole and merge > 1 and "mm.patch_merger.weight" not in tensors:
        _refuse(header, f"clip.vision.spatial_merge_size is {merge}, and the tensor mm.patch_merger.weight is missing")
    last, line_end = tensors.get("mm.2.weight"), tensors.get("v.token_embd.img_break")
    if last is not None and line_end is not None and prod(line_end.shape) != last.shape[-1]:
        why = f"mm.2.weight {last.shape}"
        _refuse(header, f"the tensor v.token_embd.img_break has the shape {line_end.shape}, and {why}")


def _check_gemma3(header: GGUFHeader, width: int) -> None:
    """Its matrix stands the other way round, and is turned before use, which no quantized one can be."""
    matrix, norm = (header.tensors.get(f"mm.{name}.weight") for name in ("input_projection", "soft_emb_norm"))
    if matrix is not None and (matrix.shape[1:] != (width,) or matrix.ggml_type not in (_F32, _F16, _BF16)):
        _refuse(header, f"the tensor mm.input_projection.weight is quantized or has the shape {matrix.shape}")
    if norm is not None and norm.shape != (width,):
        _refuse(header, f"the tensor mm.soft_emb_norm.weight has the shape {norm.shape}")


def _check_alike(
    header: GGUFHeader, first: Mapping[str, TensorInfo], block: Mapping[str, TensorInfo], index: int
) -> None:
    for name in sorted(first.keys() | block.keys()):
        if name not in first or name not in block:
            _refuse(header, f"only one of the tensors v.blk.0.{name} and v.blk.{index}.{name} is there")
        if first[name].shape != block[name].shape:
            shapes = f"{block[name].shape}, and v.blk.0.{name} {first[name].shape}"
            _refuse(header, f"the tensor v.blk.{index}.{name} has the shape {shapes}")


def _check_block(header: GGUFHeader, block: Mapping[str, TensorInfo], index: int, width: int) -> None:
    """What a block of a tower is made of."""
    for name, tensor in block.items():
        part, _, kind = name.partition(".")
        if kind != "weight":
            continue
        sides = {"attn_out": -1, "attn_q": 0, "attn_k": 0, "attn_v": 0, "attn_qkv": 0, "ln1": 0, "ln2": 0}
        if part in sides and (not tensor.shape or tensor.shape[sides[part]] != width):
            why = f"clip.vision.embedding_length is {width}"
            _refuse(header, f"the tensor v.blk.{index}.{name} has the shape {tensor.shape}, and {why}")
    up, down = block.get("ffn_up.weight"), block.get("ffn_down.weight")
    if up is not None and down is not None and (up.shape != down.shape[::-1] or width not in up.shape):
        _refuse(header, f"the tensors ffn_up and ffn_down of v.blk.{index} have the shapes {up.shape} and {down.shape}")


def _blocks(tensors: Mapping[str, TensorInfo]) -> dict[int, dict[str, TensorInfo]]:
    """The tensors of each block, by their names within it."""
    blocks: dict[int, dict[str, TensorInfo]] = {}
    for name, tensor in tensors.items():
        if found := _BLOCK.fullmatch(name):
            blocks.setdefault(int(found[1]), {})[found[2]] = tensor
    return blocks


def _shown(value: Value) -> str:
    return repr(value)[:60]


def _refuse(header: GGUFHeader, why: str) -> NoReturn:
    raise ModelError(f"{header.name}: damaged: {why}", hint="download the file again")
