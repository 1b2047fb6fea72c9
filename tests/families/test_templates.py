"""Built-in templates against the prompt strings their authors publish."""

from __future__ import annotations

import pytest

from ggufvlm.engine.request import TextPart
from ggufvlm.families.base import ChatHandler, ModelFacts
from ggufvlm.families.messages import Message
from ggufvlm.families.template import SpecialTokens
from ggufvlm.families.templates import BUILTIN_TEMPLATES
from ggufvlm.media import Image
from ggufvlm.models.registry import load_registry

IMAGE = Image.from_rgb(1, 1, b"\0\0\0", "a.png")
VICUNA = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
ASKED = [Message("user", (IMAGE, "What is this?"))]
AGAIN = [*ASKED, Message("assistant", ("A cat.",)), Message("user", ("Which color?",))]
WITH_SYSTEM = [Message("system", ("Be brief.",)), *ASKED]

PUBLISHED = {
    ("vicuna", "asked"): f"{VICUNA} USER: <image>\nWhat is this? ASSISTANT:",
    ("vicuna", "again"): (f"{VICUNA} USER: <image>\nWhat is this? ASSISTANT: A cat.</s>USER: Which color? ASSISTANT:"),
    ("vicuna", "system"): "Be brief. USER: <image>\nWhat is this? ASSISTANT:",
    ("llava-mistral", "asked"): "[INST] <image>\nWhat is this? [/INST]",
    ("llava-mistral", "again"): "[INST] <image>\nWhat is this? [/INST] A cat. </s>[INST] Which color? [/INST]",
    ("llava-mistral", "system"): "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image>\nWhat is this? [/INST]",
    ("llava-chatml", "again"): (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhat is this?<|im_end|>"
        "<|im_start|>assistant\nA cat.<|im_end|><|im_start|>user\nWhich color?<|im_end|><|im_start|>assistant\n"
    ),
    ("llava-chatml", "asked"): (
        "<|im_start|>system\nAnswer the questions.<|im_end|>"
        "<|im_start|>user\n<image>\nWhat is this?<|im_end|><|im_start|>assistant\n"
    ),
    ("chatml", "again"): (
        "<|im_start|>user\n<image>\nWhat is this?<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>\n"
        "<|im_start|>user\nWhich color?<|im_end|>\n<|im_start|>assistant\n"
    ),
    ("llama-3", "asked"): (
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is this?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    ("phi-3", "asked"): "<|user|>\n<image>\nWhat is this?<|end|>\n<|assistant|>\n",
    ("llama-3", "again"): (
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is this?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA cat.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhich color?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    ("phi-3", "again"): (
        "<|user|>\n<image>\nWhat is this?<|end|>\n<|assistant|>\nA cat.<|end|>\n"
        "<|user|>\nWhich color?<|end|>\n<|assistant|>\n"
    ),
    ("bakllava", "asked"): "USER: <image>\nWhat is this?\nASSISTANT:",
    ("moondream", "asked"): "<image>\n\nQuestion: What is this?\n\nAnswer:",
    ("moondream", "again"): (
        "<image>\n\nQuestion: What is this?\n\nAnswer: A cat.\n\nQuestion: Which color?\n\nAnswer:"
    ),
    ("yi", "asked"): "### Human: <image>\nWhat is this?\n### Assistant:",
    ("plain", "asked"): "<image>What is this?",
}
DIALOGUES = {"asked": ASKED, "again": AGAIN, "system": WITH_SYSTEM}


def prompt_string(name: str, messages: list[Message]) -> str:
    handler = ChatHandler(ModelFacts(builtin_template=name, tokens=SpecialTokens("<s>", "</s>")))
    return "".join(part.text if isinstance(part, TextPart) else "<image>" for part in handler.render(messages))


@pytest.mark.parametrize(("name", "dialogue"), PUBLISHED)
def test_published_prompt_strings(name: str, dialogue: str) -> None:
    assert prompt_string(name, DIALOGUES[dialogue]) == PUBLISHED[name, dialogue]


@pytest.mark.parametrize("name", BUILTIN_TEMPLATES)
def test_every_template_keeps_every_text_in_order(name: str) -> None:
    text = prompt_string(name, [Message("system", ("ONE",)), Message("user", ("TWO", IMAGE, "THREE"))])
    assert [word for word in ("ONE", "TWO", "THREE") if word in text] == ["ONE", "TWO", "THREE"]
    assert text.count("<image>") == 1


def test_the_registry_names_only_templates_that_there_are() -> None:
    named = {spec.template for spec in load_registry() if spec.template}
    assert named <= set(BUILTIN_TEMPLATES)
    assert {"vicuna", "llava-mistral", "moondream"} <= named
