"""Real chat templates, and the dialogues that ours and Transformers' renderings of them are compared for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "templates"
PARITY = Path(__file__).parents[1] / "parity" / "templates"
REFERENCES = DATA / "references.json"
BOS, EOS = "<s>", "</s>"
IN_A_TEXT = "[[image]]"
"""What stands for an image where a template takes nothing but texts."""

_QWEN, _PATCHES = "<|vision_start|><|image_pad|><|vision_end|>", "<image>"
WORDS = {
    "apriel_1_5": "[IMG]",
    "apriel_1_6": "[IMG]",
    "devstral_small": "[IMG]",
    "gemma_4": "<|image|>",
    "gemma_4_interleaved": "<|image|>",
    "gemma3": "<start_of_image>",
    "internvl": "<IMG_CONTEXT>",
    "kimi_k2_thinking": "<|media_start|>image<|media_content|><|media_pad|><|media_end|>",
    "lfm2_5": _PATCHES,
    "lfm2_vl": _PATCHES,
    "llava": _PATCHES,
    "ministral_3_reasoning": "[IMG]",
    "mistral_small_3_2": "[IMG]",
    "muse_glimmer": "<|patch|>",
    "pixtral": "[IMG]",
    "qwen2_5_vl": _QWEN,
    "qwen2_vl": _QWEN,
    "qwen3_5": _QWEN,
    "qwen3_vl": _QWEN,
    "smolvlm": _PATCHES,
    "stepfun_3_5": "<im_patch>",
}
"""What the templates print for an image."""

SOURCES = {
    path.stem: path.read_text(encoding="utf-8")
    for folder in (DATA, PARITY)
    for path in sorted(folder.iterdir())
    if path.suffix == ".jinja"
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A dialogue in the Hub's chat format, and what the template is told beside it."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    told: dict[str, Any] | None = None
    is_prefilled: bool = False


_IMAGE = {"type": "image"}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [item if isinstance(item, dict) else _text(item) for item in content]}


def _answer(text: str, **rest: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [_text(text)], **rest}


_SYSTEM = {"role": "system", "content": [_text("Be brief, <b>please</b>.")]}
_FIRST = _user(_IMAGE, 'What\'s "this"? ü\n{{ x }}')
_ZOOM = {
    "type": "function",
    "function": {
        "name": "zoom",
        "description": "Look closer at a part of an image <|im_end|>.",
        "parameters": {
            "type": "object",
            "properties": {
                "left": {"type": "integer", "description": "The part's left side."},
                "what": {"type": "string", "enum": ["cat", "dog"], "description": "What to look for: 'ü'."},
            },
            "required": ["left"],
        },
    },
}
_ARGUMENTS = {"left": 3, "what": 'a "ü"'}
_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"type": "function", "id": "a1b2c3d4e", "function": {"name": "zoom", "arguments": {"left": 3, "what": 'a "ü"'}}}
    ],
}
_RESULT = {"role": "tool", "tool_call_id": "a1b2c3d4e", "name": "zoom"}

CASES = {
    "one image": Case(messages=[_FIRST]),
    "two images": Case(messages=[_user(_IMAGE, "One,", _IMAGE, "two: which?")]),
    "system message": Case(messages=[_SYSTEM, _FIRST]),
    "three turns": Case(
        messages=[
            _SYSTEM,
            _FIRST,
            _answer("A cat."),
            _user("Where?"),
            _answer("There, \n on it."),
            _user(_IMAGE, "And?"),
        ]
    ),
    "thinking on": Case(messages=[_FIRST], told={"enable_thinking": True, "thinking": True}),
    "thinking off": Case(messages=[_FIRST], told={"enable_thinking": False, "thinking": False}),
    "earlier thoughts": Case(
        messages=[_FIRST, _answer("A cat.", reasoning_content="Fur.\n\nSo a cat?"), _user("Where?")]
    ),
    "thoughts in a text": Case(messages=[_FIRST, _answer("<think>\nFur: a cat?\n</think>\n\nA cat."), _user("Where?")]),
    "prefilled": Case(messages=[_FIRST, _answer("A cat, I")], is_prefilled=True, told={"enable_thinking": False}),
    "only texts": Case(messages=[_SYSTEM, _user("Hello."), _answer("Hello!"), _user(" Who are you?\n")]),
    "tool": Case(
        messages=[_SYSTEM, _user("What's there?"), _CALL, {**_RESULT, "content": [_text("A cat.")]}], tools=[_ZOOM]
    ),
    "tool with an image": Case(
        messages=[_FIRST, _CALL, {**_RESULT, "content": [_IMAGE, _text("Closer.")]}], tools=[_ZOOM]
    ),
}


def with_strings(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with each message's content as one text."""
    return [
        {
            **message,
            "content": "".join(item.get("text", IN_A_TEXT) for item in message["content"])
            if isinstance(message["content"], list)
            else message["content"],
        }
        for message in messages
    ]
