"""Real chat templates give the prompts that Transformers makes of them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from ggufvlm.engine.request import TextPart
from ggufvlm.families.base import ChatHandler, ModelFacts
from ggufvlm.families.messages import Message
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.template import SpecialTokens, render
from ggufvlm.media import Image
from tests.families.template_cases import BOS, CASES, EOS, IN_A_TEXT, REFERENCES, SOURCES, WORDS, Case

FOUND: dict[str, Any] = json.loads(REFERENCES.read_text(encoding="utf-8"))
IMAGE = Image.from_rgb(1, 1, b"\0\0\0", "i.png")
OTHERWISE = {
    # (template, dialogue): why; the guide's page on parity has the same table
    ("pixtral", "tool with an image"): "knows no tools and leaves that image out; here it stays",
    ("cohere_2", "tool with an image"): "leaves the image out; refused",
}
ODD_IMAGES = {
    "granite_4_1": "prints a line end for each part, and leaves images out",
    "reka_edge": "prints 64 tokens for each image, which libmtmd makes itself",
}


def rendered(name: str, case: Case, word: str) -> str:
    """Our prompt, with this in place of each image."""
    parts = render(
        SOURCES[name],
        [as_message(message) for message in case.messages],
        SpecialTokens(BOS, EOS),
        images=ImageStyle(word=WORDS.get(name)),
        told=case.told,
        tools=case.tools or (),
        continues=case.is_prefilled,
    )
    text = "".join(part.text if isinstance(part, TextPart) else word for part in parts)
    today = date.today()
    return text.replace(today.isoformat(), "(today)").replace(today.strftime("%d %b %Y"), "(today)")


def as_message(message: dict[str, Any]) -> Message:
    content = message["content"]
    items = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    return Message(
        message["role"],
        tuple(IMAGE if item["type"] == "image" else item["text"] for item in items),
        reasoning=message.get("reasoning_content", ""),
        tool_calls=tuple(message.get("tool_calls", ())),
        tool_call_id=message.get("tool_call_id", ""),
        name=message.get("name", ""),
    )


PAIRS = [
    (name, title)
    for name in SOURCES
    for title, case in CASES.items()
    if (name, title) not in OTHERWISE and not (name in ODD_IMAGES and title not in ("only texts", "tool"))
]


@pytest.mark.parametrize(("name", "title"), PAIRS)
def test_a_prompt_is_that_of_transformers(name: str, title: str) -> None:
    case, reference = CASES[title], FOUND[name][title]
    parts, texts = reference["parts"], reference.get("texts", reference["parts"])
    if isinstance(parts, dict) and isinstance(texts, dict):
        with pytest.raises(Exception, match="template"):
            rendered(name, case, IN_A_TEXT)
        return
    assert parts == rendered(name, case, WORDS.get(name, IN_A_TEXT)) or texts == rendered(name, case, IN_A_TEXT)


def test_a_file_s_own_template_for_tools_is_taken_with_tools() -> None:
    plain = "{% for m in messages %}[{{ m.content if m.content is string else m.content[0].text }}]{% endfor %}"
    handler = ChatHandler(ModelFacts(template=plain, tool_template="{{ tools[0].function.name }}" + plain))
    question = [Message("user", ("Hi.",))]
    assert handler.render(question)[0] == TextPart("[", trusted=True)
    assert handler.render(question, tools=CASES["tool"].tools or ())[0] == TextPart("zoom")
