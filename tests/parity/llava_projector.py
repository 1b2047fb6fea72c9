"""LLaVA's projector as GGUF. llama.cpp's converter writes none for CLIP towers any more; published files look so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_PARTS = {
    "embeddings.class_embedding": "class_embd",
    "embeddings.patch_embedding": "patch_embd",
    "embeddings.position_embedding": "position_embd",
    "pre_layrnorm": "pre_ln",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_down",  # the two are exchanged in these files, and llama.cpp exchanges them back
    "mlp.fc2": "ffn_up",
}


def write_projector(model: Any, path: Path) -> None:
    """The tower without its last block, which LLaVA does not look at, and the two layers of the projector."""
    import gguf

    config, n_blocks = model.config.vision_config, model.config.vision_config.num_hidden_layers - 1
    writer = gguf.GGUFWriter(str(path), "clip")
    for key in ("has_vision_encoder", "has_llava_projector"):
        writer.add_bool(f"clip.{key}", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    numbers = {"image_size": config.image_size, "patch_size": config.patch_size, "block_count": n_blocks}
    numbers |= {"embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size}
    numbers |= {"projection_dim": config.projection_dim, "attention.head_count": config.num_attention_heads}
    for key, number in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", config.layer_norm_eps)
    writer.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    writer.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])
    for name, tensor in model.state_dict().items():
        target = _name(name, n_blocks)
        if target:
            data = tensor.float().numpy()
            writer.add_tensor(target, data.astype(np.float16) if _is_matrix(target, data) else data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _is_matrix(name: str, data: np.ndarray) -> bool:
    return data.ndim >= 2 and "position_embd" not in name


def _name(name: str, n_blocks: int) -> str | None:
    if "multi_modal_projector.linear_" in name:
        _, _, rest = name.partition("linear_")
        return {"1": "mm.0", "2": "mm.2"}[rest[0]] + rest[1:]
    _, found, rest = name.partition("vision_tower.")
    rest = rest.removeprefix("vision_model.")
    if not found or "post_layernorm" in rest or "position_ids" in rest:
        return None
    if rest.startswith("encoder.layers."):
        block, rest = rest.removeprefix("encoder.layers.").split(".", 1)
        return f"v.blk.{block}.{_part(rest)}" if int(block) < n_blocks else None
    return f"v.{_part(rest)}"


def _part(name: str) -> str:
    for old, new in _PARTS.items():
        if name.startswith(old):
            return new + name[len(old) :]
    raise ValueError(name)
