"""What Transformers computes for a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.parity.cases import N_ANSWER, Case

IMAGE_ROW = -1  # in place of a token
LEAST_MARGIN = 0.05  # between the best two logits, in standard deviations: below, rounding decides
LEAST_DISTINCT = 4  # tokens of an answer

Disturb = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Reference:
    """Arrays of one case, as they are stored."""

    tokens: np.ndarray
    embeddings: np.ndarray
    logits: np.ndarray
    answer: np.ndarray
    margins: np.ndarray


@torch.no_grad()
def compute(
    model: nn.Module, processor: Any, case: Case, image_tokens: list[int], disturb: Disturb | None = None
) -> Reference:
    """Prompt tokens, projected embeddings of all images, next-token logits and the greedy answer.

    Args:
        model, processor: of Transformers.
        case: the dialogue.
        image_tokens: ids of the tokens whose rows the projector fills.
        disturb: changes the rows of all images, to find out whether the answer depends on little.
    """
    inputs = processor.apply_chat_template(
        case.messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    tokens = inputs["input_ids"][0]
    is_image = torch.isin(tokens, torch.tensor(image_tokens))
    taken: list[dict[str, Any]] = []

    def look(_module: nn.Module, arguments: Any, kwargs: dict[str, Any]) -> Any:
        taken.append(kwargs)
        if disturb and len(taken) == 1:
            kwargs["inputs_embeds"][0, is_image] = disturb(kwargs["inputs_embeds"][0, is_image])
        return arguments, kwargs

    hook = model.get_decoder().register_forward_pre_hook(look, with_kwargs=True)
    output = model.generate(
        **inputs,
        max_new_tokens=N_ANSWER,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    hook.remove()
    embeddings = [taken[0]["inputs_embeds"][0, is_image], *(taken[0].get("deepstack_visual_embeds") or [])]
    logits = torch.stack(output.logits)[:, 0]
    best = logits.topk(2).values
    return Reference(
        tokens=torch.where(is_image, IMAGE_ROW, tokens).int().numpy(),
        embeddings=torch.cat(embeddings, dim=-1).half().numpy()[: None if case.keeps_embeddings else 0],
        logits=logits[0].float().numpy(),
        answer=output.sequences[0, len(tokens) :].int().numpy(),
        margins=((best[:, 0] - best[:, 1]) / logits.std(dim=-1)).float().numpy(),
    )
