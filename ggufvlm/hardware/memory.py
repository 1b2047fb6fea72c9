"""How much memory a model will take, from the headers of its two files alone. Pure: no llama.cpp, no machine.

The rules are those of llama.cpp as vendored by llama-cpp-python 0.3.36: ``llama-hparams.cpp``, ``llama-kv-cache.cpp``
and ``llama-memory-recurrent.cpp`` for the cache, which comes out exact; graphs measured in dry runs for the compute
buffers, which are an estimate. The cache is as our engine makes it: one slot, windowed layers with all cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ggufvlm.config import EngineConfig
from ggufvlm.gguf.header import GGUFHeader, TensorInfo

DEFAULT_CTX = 4096
"""Cells reckoned with when no context size is set: an image, a question and an answer."""
DEFAULT_IMAGE_TOKENS = 1024
_MOST_IMAGE_TOKENS = 16384  # no family has more, whatever limit is set

_CELL_STEP = 256  # llama.cpp rounds a context up to this
_BYTES_PER_ELEMENT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_GEMMA3N_LAYERS_WITH_CACHE = 20
# Projectors whose input is as large as the image. All others scale it, whole or in tiles, to clip.vision.image_size.
_DYNAMIC = re.compile("qwen|pixtral|lightonocr|lfm2|kimi|glm[45]v|paddleocr|dots|youtuvl|mimovl|hunyuan|exaone|step3")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerMemory:
    """Bytes of one layer: its weights and its share of the cache."""

    weights: int
    kv: int


@dataclass(frozen=True, kw_only=True)
class MemoryPrediction:
    """Bytes that a model and its projector will take.

    Attributes:
        n_ctx: cells of the cache that it was made for.
        layers: in the model's order.
        input_weights: embeddings and what else always stays in ordinary memory.
        output_weights: the last matrix and its norm. Where it is the embedding itself (``tied_output``) it costs
            nothing in ordinary memory, and this much on a GPU.
        kv_per_cell: growth of the cache with each token of context.
        compute: scratch memory of the language model.
        projector, projector_compute: the projector's weights, and its scratch memory for the largest image.
    """

    n_ctx: int
    layers: tuple[LayerMemory, ...]
    input_weights: int
    output_weights: int
    tied_output: bool
    kv_per_cell: int
    compute: int
    projector: int
    projector_compute: int

    @cached_property
    def weights(self) -> int:
        """Weights of the language model, each counted once."""
        output = 0 if self.tied_output else self.output_weights
        return self.input_weights + output + sum(layer.weights for layer in self.layers)

    @cached_property
    def kv(self) -> int:
        """The whole cache."""
        return sum(layer.kv for layer in self.layers)

    @cached_property
    def total(self) -> int:
        """Everything together, as it is when nothing lies on a GPU."""
        return self.weights + self.kv + self.compute + self.projector + self.projector_compute


def predict(
    model: GGUFHeader | Iterable[GGUFHeader],
    projector: GGUFHeader | None = None,
    config: EngineConfig | None = None,
    *,
    image_tokens: int | None = None,
) -> MemoryPrediction:
    """Predict what a model and its projector take, from complete headers.

    Args:
        model: the language model; of a split one the headers of all parts, first to last.
        projector: ``None`` counts none.
        config: context size, cache types, batch size and flash attention.
        image_tokens: the largest image, for projectors that take any size; ``None`` is the engine's own limit.
    """
    parts = (model,) if isinstance(model, GGUFHeader) else tuple(model)
    config = config or EngineConfig()
    shape = _Shape(parts[0], {name: info for part in parts for name, info in part.tensors.items()})
    n_ctx = _padded(config.n_ctx or min(shape.n_ctx_train, DEFAULT_CTX))
    per_cell = _bytes_per_cell(shape, config)
    layers = tuple(
        LayerMemory(weights=shape.weights[index], kv=n_ctx * per_cell[index] + shape.recurrent_state(index))
        for index in range(shape.n_layer)
    )
    image_tokens = min(config.image_max_tokens or image_tokens or DEFAULT_IMAGE_TOKENS, _MOST_IMAGE_TOKENS)
    return MemoryPrediction(
        n_ctx=n_ctx,
        layers=layers,
        input_weights=shape.input_weights,
        output_weights=shape.output_weights,
        tied_output=shape.tied_output,
        kv_per_cell=sum(per_cell),
        compute=_compute(shape, config, n_ctx),
        projector=sum(info.n_bytes or 0 for info in projector.tensors.values()) if projector else 0,
        projector_compute=_projector_compute(projector, config, image_tokens) if projector else 0,
    )


def _bytes_per_cell(shape: _Shape, config: EngineConfig) -> list[int]:
    """Bytes that one cell takes in each layer's cache."""
    n_k, n_v = _BYTES_PER_ELEMENT[config.cache_type_k], _BYTES_PER_ELEMENT[config.cache_type_v]
    widths = [shape.kv_width(index) for index in range(shape.n_layer)]
    if config.flash_attention == "off":  # then values lie transposed, and all layers get the widest one's room
        widest = max((value for _, value in widths), default=0)
        widths = [(key, widest if value else 0) for key, value in widths]
    return [int(key * n_k) + int(value * n_v) for key, value in widths]


class _Shape:
    """What a language model's header says about its layers."""

    def __init__(self, header: GGUFHeader, tensors: Mapping[str, TensorInfo]) -> None:
        self._header = header
        self._tensors = tensors
        n_blocks = max((int(found[1]) + 1 for name in tensors if (found := _BLOCK.fullmatch(name))), default=0)
        n_loaded = self.integer("block_count") - self.integer("nextn_predict_layers")
        self.n_layer = max(0, min(n_loaded, n_blocks, len(tensors)))  # keys and names may say any number
        self.n_embd = self.integer("embedding_length")
        self.n_ctx_train = self.integer("context_length") or DEFAULT_CTX
        self.weights = [0] * self.n_layer
        self._parts: list[set[str]] = [set() for _ in range(self.n_layer)]
        others = 0
        for name, info in tensors.items():
            found = _BLOCK.fullmatch(name)
            if found is None:
                others += info.n_bytes or 0
            elif (index := int(found[1])) < self.n_layer:
                self.weights[index] += info.n_bytes or 0
                self._parts[index].add(found[2])
        self.tied_output = "output.weight" not in tensors
        matrix = self._bytes("token_embd.weight" if self.tied_output else "output.weight")
        self.output_weights = matrix + self._bytes("output_norm.weight")
        self.input_weights = others - (0 if self.tied_output else self.output_weights)

    def _bytes(self, name: str) -> int:
        return (self._tensors[name].n_bytes or 0) if name in self._tensors else 0

    @property
    def n_vocab(self) -> int:
        embedding = self._tensors.get("token_embd.weight")
        return embedding.shape[-1] if embedding is not None and embedding.shape else 0

    def integer(self, key: str, default: int = 0) -> int:
        value = self._header.integer(f"{self._header.architecture}.{key}")
        return default if value is None else value

    def of_layer(self, key: str, index: int, default: int = 0) -> int:
        """One layer's value of a key that has one for all layers, or an array with one for each."""
        value = self._header.metadata.get(f"{self._header.architecture}.{key}")
        if isinstance(value, tuple):
            value = value[index] if index < len(value) else None
        return value if isinstance(value, int) else default

    def largest(self, key: str) -> int:
        """The largest value that a key has for any layer."""
        return max((self.of_layer(key, index) for index in range(self.n_layer)), default=0)

    def kv_width(self, index: int) -> tuple[int, int]:
        """Elements of one cell in this layer: of its key and of its value."""
        if not self._has_attention(index) or index >= self._n_layer_with_cache:
            return 0, 0
        n_head = self.of_layer("attention.head_count", index)
        n_head_kv = self.of_layer("attention.head_count_kv", index, n_head)
        head = self.n_embd // (self.of_layer("attention.head_count", 0) or 1)
        key, value = self._head_width("key", index, head), self._head_width("value", index, head)
        if self.integer("attention.key_length_mla") and self.integer("attention.value_length_mla"):
            value = 0  # latent attention keeps one vector for both
        return n_head_kv * key, n_head_kv * value

    def _head_width(self, which: str, index: int, default: int) -> int:
        full = self.integer(f"attention.{which}_length", default)
        windowed = self.integer(f"attention.{which}_length_swa", full)
        pattern = self._header.metadata.get(f"{self._header.architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, tuple) and index < len(pattern):
            return windowed if pattern[index] else full
        return max(full, windowed)

    @property
    def _n_layer_with_cache(self) -> int:
        if self._header.architecture == "gemma3n":
            return _GEMMA3N_LAYERS_WITH_CACHE
        return self.n_layer - self.integer("attention.shared_kv_layers")

    def _is_recurrent(self, index: int) -> bool:
        return any(part.startswith(("ssm_", "shortconv.")) for part in self._parts[index])

    def _has_attention(self, index: int) -> bool:
        parts = self._parts[index]
        if {"attn_k.weight", "attn_kv_a_mqa.weight"} & parts:
            return True
        return "attn_qkv.weight" in parts and not self._is_recurrent(index)

    def recurrent_state(self, index: int) -> int:
        """Bytes that a recurrent layer keeps, however long the context is."""
        if not self._is_recurrent(index):
            return 0
        if window := self.integer("shortconv.l_cache"):
            return 4 * self.n_embd * (window - 1)
        inner, state = self.integer("ssm.inner_size"), self.integer("ssm.state_size")
        convolved = inner + 2 * self.integer("ssm.group_count") * state
        return 4 * (max(0, self.integer("ssm.conv_kernel") - 1) * convolved + state * inner)


def _compute(shape: _Shape, config: EngineConfig, n_ctx: int) -> int:
    """The largest graph of the language model, fitted to llama.cpp's own dry runs."""
    experts = shape.largest("expert_used_count") * shape.largest("expert_feed_forward_length")
    n_ff = max(shape.largest("feed_forward_length"), experts + shape.integer("expert_shared_feed_forward_length"))
    n_head = shape.largest("attention.head_count")
    n_embd = max(shape.n_embd, n_head * shape.integer("attention.key_length"))
    n_masks = 2 if shape.integer("attention.sliding_window") else 1
    feed_forward = 3 * n_ff + 4 * n_embd
    if config.flash_attention == "off":
        masks = n_masks * n_ctx
        width = max(feed_forward + masks, n_head * n_ctx + masks + 6 * n_embd)
    else:
        width = feed_forward + n_masks * n_ctx // 2  # masks of 16-bit numbers
    return 4 * (config.n_ubatch * width + shape.n_vocab)


def _projector_compute(projector: GGUFHeader, config: EngineConfig, image_tokens: int) -> int:
    """The projector's graph for the largest image, fitted to what libmtmd reserved."""

    def integer(key: str) -> int:
        return projector.integer(f"clip.vision.{key}") or 0

    patch = integer("patch_size") or 14
    kind = projector.text("clip.projector_type") or projector.text("clip.vision.projector_type") or ""
    n_patches = (integer("image_size") // patch) ** 2
    if _DYNAMIC.search(kind):
        n_patches = image_tokens * (integer("spatial_merge_size") or 2) ** 2
    width = 3 * patch * patch + max(integer("feed_forward_length"), 4 * integer("embedding_length"))
    width += 2 * integer("embedding_length")
    if config.flash_attention == "off":
        width += 2 * integer("attention.head_count") * n_patches
    elif integer("n_wa_pattern"):
        width += 3 * n_patches // 2  # the mask of windowed attention, as 32-bit and as 16-bit numbers
    return 4 * n_patches * width


def _padded(n_ctx: int) -> int:
    return -(-n_ctx // _CELL_STEP) * _CELL_STEP
