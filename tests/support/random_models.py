"""Small language models with random weights, for kinds of memory that the built-in model does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ggufvlm
from ggufvlm.gguf.writer import NewTensor, encode_value, read_pairs, write_gguf

DEMO = Path(ggufvlm.__file__).parent / "demo" / "tiny-qwen2vl-Q8_0.gguf"
N_VOCAB, WIDTH, N_LAYER, N_FF, N_HEAD, N_HEAD_KV, L_CACHE = 596, 256, 4, 256, 4, 2, 3
KV_HEADS = (0, N_HEAD_KV, 0, N_HEAD_KV)  # every other layer is a short convolution with a recurrent state


def write_hybrid(path: Path) -> Path:
    """LFM2's architecture, as wide as the built-in projector, with the built-in model's tokenizer."""
    rng = np.random.default_rng(0)
    name = "lfm2"
    pairs = {key: value for key, value in read_pairs(DEMO).items() if key.startswith("tokenizer.ggml.")}
    pairs["general.architecture"] = encode_value("string", name)
    pairs[f"{name}.attention.head_count_kv"] = encode_value("[int32]", KV_HEADS)
    pairs[f"{name}.attention.layer_norm_rms_epsilon"] = encode_value("float32", 1e-5)
    pairs[f"{name}.rope.freq_base"] = encode_value("float32", 1e4)
    numbers = {
        "context_length": 4096,
        "embedding_length": WIDTH,
        "block_count": N_LAYER,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "shortconv.l_cache": L_CACHE,
        "vocab_size": N_VOCAB,
    }
    pairs |= {f"{name}.{key}": encode_value("uint32", value) for key, value in numbers.items()}
    tensors = []
    for tensor, shape in _shapes().items():
        ones = len(shape) == 1
        data = np.ones(shape) if ones else rng.standard_normal(shape[::-1]) / np.sqrt(shape[0])
        content = data.astype(np.float32).tobytes()
        tensors.append(NewTensor(name=tensor, shape=shape, ggml_type=0, data=lambda content=content: content))
    with path.open("wb") as file:
        write_gguf(file, pairs, tensors)
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    head = WIDTH // N_HEAD
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (WIDTH, N_VOCAB), "token_embd_norm.weight": (WIDTH,)}
    for i, kv in enumerate(KV_HEADS):
        layer: dict[str, tuple[int, ...]] = {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (WIDTH, N_FF),
            "ffn_up": (WIDTH, N_FF),
            "ffn_down": (N_FF, WIDTH),
        }
        if kv:
            layer |= {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, kv * head), "attn_v": (WIDTH, kv * head)}
            layer |= {"attn_output": (WIDTH, WIDTH), "attn_q_norm": (head,), "attn_k_norm": (head,)}
        else:
            layer |= {"shortconv.conv": (L_CACHE, WIDTH), "shortconv.in_proj": (WIDTH, 3 * WIDTH)}
            layer |= {"shortconv.out_proj": (WIDTH, WIDTH)}
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes
