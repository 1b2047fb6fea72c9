"""The weights between Transformers and GGUF, in both directions, and the tokenizer of the built-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from tests.support.demo_model.rows import IMAGE_PAD, MERGE, PATCH, VIDEO_PAD

MODEL, PROJECTOR = "tiny-qwen2vl-Q8_0.gguf", "mmproj-tiny-qwen2vl-F16.gguf"
WIDTH = 256  # a multiple of 256, so that K-quants work
DEPTH, VISION_DEPTH = 3, 4
STOP, END = "<|im_end|>", "<|endoftext|>"
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_VISION_LAYER = {"norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"}

State = dict[str, torch.Tensor]


def vocabulary(folder: Path) -> tuple[list[str], list[str]]:
    """Tokens and merges of the model in that folder, with a token for videos behind the others if there is none."""
    reader = gguf.GGUFReader(folder / MODEL)
    tokens, merges = (list(reader.fields[f"tokenizer.ggml.{name}"].contents()) for name in ("tokens", "merges"))
    return [*tokens, *(() if VIDEO_PAD in tokens else (VIDEO_PAD,))], merges


def make_tokenizer(tokens: list[str], merges: list[str]) -> Tokenizer:
    """Byte-level BPE with Qwen2's way of splitting."""
    special = [token for token in tokens if token.startswith("<|")]
    plain = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=plain, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def make_model(tokenizer: Tokenizer) -> Any:
    """Transformers' own Qwen2-VL, small."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    ids = tokenizer.token_to_id
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": WIDTH,
        "intermediate_size": 512,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": ids(STOP),
        "pad_token_id": ids(END),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 12, 12]},
    }
    vision = {
        "depth": VISION_DEPTH,
        "embed_dim": 128,
        "hidden_size": WIDTH,
        "hidden_act": "quick_gelu",
        "mlp_ratio": 4,
        "num_heads": 4,
        "in_channels": 3,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
    }
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=ids(IMAGE_PAD),
        video_token_id=ids(VIDEO_PAD),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    config._attn_implementation = "sdpa"
    return Qwen2VLForConditionalGeneration(config)


def load(folder: Path) -> tuple[Any, Tokenizer]:
    """The model of two GGUF files as Transformers runs it."""
    tokens, merges = vocabulary(folder)
    tokenizer = make_tokenizer(tokens, merges)
    model = make_model(tokenizer)
    state: State = {}
    found = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for name in (MODEL, PROJECTOR)
        for tensor in gguf.GGUFReader(folder / name).tensors
    }
    for name, there in names().items():
        if there in found:
            state[name] = torch.tensor(np.array(found[there], np.float32))
    embeddings = state["model.language_model.embed_tokens.weight"]
    missing = len(tokens) - len(embeddings)
    if missing:  # tokens that are new begin in the middle of the others
        state["model.language_model.embed_tokens.weight"] = torch.cat(
            [embeddings, embeddings.mean(0).repeat(missing, 1)]
        )
    state["model.visual.patch_embed.proj.weight"] = torch.stack(
        [torch.tensor(np.array(found[f"v.patch_embd.weight{end}"], np.float32)) for end in ("", ".1")], dim=2
    )
    for layer in range(VISION_DEPTH):
        for part in ("weight", "bias"):
            rows = [torch.tensor(np.array(found[f"v.blk.{layer}.attn_{n}.{part}"], np.float32)) for n in "qkv"]
            state[f"model.visual.blocks.{layer}.attn.qkv.{part}"] = torch.cat(rows)
    state = {name: value.reshape(model.state_dict()[name].shape) for name, value in state.items()}
    state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model, tokenizer


def names() -> dict[str, str]:
    """The tensors that are the same on both sides: Transformers' name, and GGUF's."""
    found = {
        "model.language_model.embed_tokens.weight": "token_embd.weight",
        "model.language_model.norm.weight": "output_norm.weight",
    }
    for part in ("weight", "bias"):
        for layer in range(DEPTH):
            for here, there in _LAYER.items():
                if part == "weight" or there in ("attn_q", "attn_k", "attn_v"):
                    found[f"model.language_model.layers.{layer}.{here}.{part}"] = f"blk.{layer}.{there}.{part}"
        for layer in range(VISION_DEPTH):
            for here, there in _VISION_LAYER.items():
                found[f"model.visual.blocks.{layer}.{here}.{part}"] = f"v.blk.{layer}.{there}.{part}"
        found[f"model.visual.merger.ln_q.{part}"] = f"v.post_ln.{part}"
        for number in (0, 2):
            found[f"model.visual.merger.mlp.{number}.{part}"] = f"mm.{number}.{part}"
    return found


def tensors(state: State) -> dict[str, NDArray[np.float32]]:
    """All tensors of both files under GGUF's names."""
    arrays = {name: value.detach().float().numpy() for name, value in state.items()}
    found = {there: arrays[here] for here, there in names().items()}
    patches = arrays["model.visual.patch_embed.proj.weight"]
    found["v.patch_embd.weight"], found["v.patch_embd.weight.1"] = patches[:, :, 0], patches[:, :, 1]
    for layer in range(VISION_DEPTH):
        for part in ("weight", "bias"):
            rows = np.split(arrays[f"model.visual.blocks.{layer}.attn.qkv.{part}"], 3)
            found |= {f"v.blk.{layer}.attn_{name}.{part}": array for name, array in zip("qkv", rows, strict=True)}
    return found
