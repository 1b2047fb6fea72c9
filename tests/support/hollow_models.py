"""GGUF files in the shape of real models, without weights: sparse files that take no room on the disk.

llama.cpp loads them with ``no_alloc`` and says how much memory it would take.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ggufvlm.gguf.writer import NewTensor, encode_header, encode_value

F32, F16, Q8_0 = 0, 1, 8
N_VOCAB = 4096


def write_hollow(path: Path, architecture: str, values: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> Path:
    """Norms and biases are F32, all else is Q8_0. Keys of ``values`` come without the architecture."""
    pairs = {
        "general.architecture": encode_value("string", architecture),
        "tokenizer.ggml.model": encode_value("string", "no_vocab"),
        f"{architecture}.vocab_size": encode_value("uint32", N_VOCAB),
    }
    for key, value in values.items():
        pairs[f"{architecture}.{key}"] = encode_value(_word(value), value)
    new = [
        NewTensor(name=name, shape=shape, ggml_type=Q8_0 if _is_matrix(name, shape) else F32, data=lambda: b"")
        for name, shape in tensors.items()
    ]
    head = encode_header(pairs, new)
    size = sum(-(-tensor.n_bytes // 32) * 32 for tensor in new)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return path


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] % 32 == 0 and "conv" not in name


def _word(value: Any) -> str:
    first = value[0] if isinstance(value, tuple) else value
    words: dict[type, str] = {bool: "bool", int: "uint32", float: "float32", str: "string"}
    word = words[type(first)]
    return f"[{'int32' if word == 'uint32' else word}]" if isinstance(value, tuple) else word


def _common(n_layer: int, n_embd: int, n_ff: int, n_head: int, **more: Any) -> dict[str, Any]:
    return {
        "context_length": 32768,
        "embedding_length": n_embd,
        "block_count": n_layer,
        "feed_forward_length": n_ff,
        "attention.head_count": n_head,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def _layer(i: int, n_embd: int, n_ff: int, q: int, k: int) -> dict[str, tuple[int, ...]]:
    return {
        f"blk.{i}.attn_norm.weight": (n_embd,),
        f"blk.{i}.attn_q.weight": (n_embd, q),
        f"blk.{i}.attn_k.weight": (n_embd, k),
        f"blk.{i}.attn_v.weight": (n_embd, k),
        f"blk.{i}.attn_output.weight": (q, n_embd),
        **_feed_forward(i, n_embd, n_ff),
    }


def _feed_forward(i: int, n_embd: int, n_ff: int) -> dict[str, tuple[int, ...]]:
    return {
        f"blk.{i}.ffn_norm.weight": (n_embd,),
        f"blk.{i}.ffn_gate.weight": (n_embd, n_ff),
        f"blk.{i}.ffn_up.weight": (n_embd, n_ff),
        f"blk.{i}.ffn_down.weight": (n_ff, n_embd),
    }


def _ends(n_embd: int, norm: str = "output_norm", *, tied: bool = True) -> dict[str, tuple[int, ...]]:
    ends = {"token_embd.weight": (n_embd, N_VOCAB), f"{norm}.weight": (n_embd,)}
    return ends if tied else {**ends, "output.weight": (n_embd, N_VOCAB)}


def llama(path: Path) -> Path:
    """Grouped-query attention, an output matrix of its own."""
    tensors = _ends(512, tied=False)
    for i in range(4):
        tensors |= _layer(i, 512, 1536, 512, 128)
    values = _common(4, 512, 1536, 8, attention__head_count_kv=2, rope__dimension_count=64)
    return write_hollow(path, "llama", values, tensors)


def gemma3(path: Path) -> Path:
    """Five windowed layers for one without a window; heads wider than the embedding."""
    tensors = _ends(640)
    for i in range(7):
        tensors |= _layer(i, 640, 2048, 4 * 256, 256)
        tensors |= {f"blk.{i}.attn_{name}_norm.weight": (256,) for name in ("q", "k")}
        tensors |= {f"blk.{i}.{name}.weight": (640,) for name in ("post_attention_norm", "post_ffw_norm")}
    more = {"attention__key_length": 256, "attention__value_length": 256, "attention__sliding_window": 512}
    return write_hollow(path, "gemma3", _common(7, 640, 2048, 4, attention__head_count_kv=1, **more), tensors)


def gemma4(path: Path) -> Path:
    """Windowed layers with narrower heads, and layers at the end that share an earlier cache."""
    pattern = (True, True, True, False, True, False)
    tensors: dict[str, tuple[int, ...]] = _ends(512)
    for i, windowed in enumerate(pattern):
        head = 128 if windowed else 256
        tensors |= _layer(i, 512, 1024, 4 * head, 2 * head)
        tensors |= {f"blk.{i}.attn_{name}_norm.weight": (head,) for name in ("q", "k")}
        tensors |= {f"blk.{i}.{name}.weight": (512,) for name in ("post_attention_norm", "post_ffw_norm")}
    tensors["rope_freqs.weight"] = (128,)
    more = {f"attention__{which}_length{end}": n for which in ("key", "value") for end, n in (("", 256), ("_swa", 128))}
    more |= {"attention__sliding_window": 512, "attention__shared_kv_layers": 2, "embedding_length_per_layer_input": 0}
    values = _common(6, 512, 1024, 4, attention__head_count_kv=2, **more)
    values["attention.sliding_window_pattern"] = pattern
    return write_hollow(path, "gemma4", values, tensors)


def lfm2(path: Path) -> Path:
    """Short convolutions with a fixed state beside layers of attention."""
    heads = (0, 0, 2, 0, 2, 0)
    tensors: dict[str, tuple[int, ...]] = _ends(512, "token_embd_norm")
    for i, n_head_kv in enumerate(heads):
        if n_head_kv:
            tensors |= _layer(i, 512, 1536, 512, 128)
            tensors |= {f"blk.{i}.attn_{name}_norm.weight": (64,) for name in ("q", "k")}
            continue
        tensors |= {f"blk.{i}.attn_norm.weight": (512,), **_feed_forward(i, 512, 1536)}
        tensors |= {f"blk.{i}.shortconv.conv.weight": (3, 512), f"blk.{i}.shortconv.in_proj.weight": (512, 1536)}
        tensors[f"blk.{i}.shortconv.out_proj.weight"] = (512, 512)
    values = _common(6, 512, 1536, 8, shortconv__l_cache=3)
    values["attention.head_count_kv"] = heads
    return write_hollow(path, "lfm2", values, tensors)


def qwen35(path: Path) -> Path:
    """Linear attention in three layers of four, and a layer for speculation that is not loaded."""
    tensors: dict[str, tuple[int, ...]] = _ends(512)
    for i in range(5):
        tensors[f"blk.{i}.post_attention_norm.weight"] = (512,)
        if i >= 3:
            tensors |= _layer(i, 512, 1024, 8 * 64 * 2, 128)
            tensors[f"blk.{i}.attn_output.weight"] = (512, 512)
            tensors |= {f"blk.{i}.attn_{name}_norm.weight": (64,) for name in ("q", "k")}
            continue
        tensors |= {f"blk.{i}.attn_norm.weight": (512,), **_feed_forward(i, 512, 1024)}
        tensors |= {f"blk.{i}.attn_qkv.weight": (512, 1024), f"blk.{i}.attn_gate.weight": (512, 512)}
        tensors |= {f"blk.{i}.ssm_conv1d.weight": (4, 1024), f"blk.{i}.ssm_dt.bias": (8,), f"blk.{i}.ssm_a": (8,)}
        tensors |= {f"blk.{i}.ssm_beta.weight": (512, 8), f"blk.{i}.ssm_alpha.weight": (512, 8)}
        tensors |= {f"blk.{i}.ssm_norm.weight": (64,), f"blk.{i}.ssm_out.weight": (512, 512)}
    for i in (4,):
        tensors |= {f"blk.{i}.nextn.{name}.weight": (512,) for name in ("enorm", "hnorm")}
        tensors[f"blk.{i}.nextn.eh_proj.weight"] = (1024, 512)
    for i in range(5):
        tensors.pop(f"blk.{i}.ffn_norm.weight", None)
    ssm = {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 64, "ssm__time_step_rank": 8}
    more = {"attention__key_length": 64, "attention__value_length": 64, "rope__dimension_count": 64}
    values = _common(5, 512, 1024, 8, attention__head_count_kv=2, nextn_predict_layers=1, **ssm, **more)
    values |= {"ssm.group_count": 4, "rope.dimension_sections": (11, 11, 10, 0)}
    return write_hollow(path, "qwen35", values, tensors)


HOLLOW: dict[str, Callable[[Path], Path]] = {
    "llama": llama,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "lfm2": lfm2,
    "qwen35": qwen35,
}
