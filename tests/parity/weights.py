"""Random weights with which a small model behaves like a trained one: clear logits, images that matter."""

from __future__ import annotations

import math

import torch
from torch import nn

LOGIT_SPREAD = 4.0
TIED_SPREAD = 0.06  # of embeddings that are the head too: large ones would repeat the last token for ever
SHARPNESS = 1.8  # of attention


@torch.no_grad()
def randomize(model: nn.Module, quiet_tokens: list[int], seed: int) -> None:
    """Fill a model, rounded to float16 so that its GGUF holds the same numbers.

    Args:
        model: a Transformers model for conditional generation.
        quiet_tokens: special tokens, which shall never win.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = dict(model.named_modules())
    done: set[int] = set()
    for name, weight in model.named_parameters():
        if id(weight) in done:
            continue
        done.add(id(weight))
        owner, _, kind = name.rpartition(".")
        noise = torch.randn(weight.shape, generator=generator)
        weight.copy_(_scaled(noise, type(modules[owner]).__name__, owner, kind, model))
    head = model.get_output_embeddings().weight
    # tokens of unequal weight: the best one is seldom nearly equalled
    head *= torch.exp(0.35 * torch.randn(len(head), 1, generator=generator))
    head[quiet_tokens] *= 0.2 if _is_tied(model) else 0.0
    model.half().float()


def _scaled(noise: torch.Tensor, module: str, owner: str, kind: str, model: nn.Module) -> torch.Tensor:
    if "Norm" in module or owner.endswith("norm"):
        return (0.0 if kind == "bias" else _norm(module, owner, model)) + 0.1 * noise
    if kind == "bias":
        return 0.1 * noise
    if module.endswith("Embedding"):
        is_text = owner.endswith("embed_tokens")
        return noise * (TIED_SPREAD if is_text and _is_tied(model) else 0.5)
    if noise.ndim < 2 or module not in ("Linear", "Conv2d", "Conv3d", "Conv1d"):
        return 0.5 + 0.1 * noise if noise.ndim < 2 else noise * 0.5
    fan_in = noise[0].numel()
    return noise * _gain(owner) / math.sqrt(fan_in)


def _is_tied(model: nn.Module) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _norm(module: str, owner: str, model: nn.Module) -> float:
    around = 1.6 if owner.endswith(("q_norm", "k_norm", "q_layernorm", "k_layernorm")) else 1.0
    if _is_tied(model) and owner.endswith(("language_model.norm", "language_model.embedding_norm")):
        around = LOGIT_SPREAD / TIED_SPREAD / math.sqrt(model.config.get_text_config().hidden_size)
    if owner.endswith(("post_attention_layernorm", "post_feedforward_layernorm")) and module.startswith("Gemma3RMS"):
        around = 2.0
    return around - 1.0 if module.startswith("Gemma3RMS") else around  # Gemma adds one by itself


def _gain(owner: str) -> float:
    if owner.endswith("lm_head"):
        return LOGIT_SPREAD
    if owner.endswith(("q_proj", "k_proj")):
        return SHARPNESS
    # without this a prompt's last token alone would decide the answer
    mixes_tokens = owner.endswith("o_proj") or ("language_model" in owner and owner.endswith("out_proj"))
    return 2.5 if mixes_tokens else 1.0
