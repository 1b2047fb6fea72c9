"""Dialogues as clients send them, through the template of every family that the tests have, and all built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import UsageError
from ggufvlm.families.gemma import Gemma3Handler
from ggufvlm.families.internvl import InternVLHandler
from ggufvlm.families.messages import Message
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.smolvlm import SmolVLMHandler
from ggufvlm.families.template import SpecialTokens, render
from ggufvlm.families.templates import BUILTIN_TEMPLATES
from ggufvlm.media import Image
from tests.parity.ours import load

FOLDER = Path(__file__).parents[1] / "parity" / "templates"
STYLES = {"gemma3": Gemma3Handler.images, "internvl": InternVLHandler.images, "smolvlm": SmolVLMHandler.images}
NO_SYSTEM = (  # as Gemma 2's and the first ones of Mistral
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content | trim }}{% endfor %}"
)
TEMPLATES = {path.stem: path.read_text() for path in FOLDER.iterdir()} | {"no system role": NO_SYSTEM}
IMAGES = [Image.from_rgb(1, 1, bytes([shade, 0, 0]), f"{shade}.png") for shade in range(4)]


def rendered(name: str, messages: list[Message]) -> list[TextPart | Image]:
    tokens = SpecialTokens("<s>", "</s>")
    if name in BUILTIN_TEMPLATES:
        return render(BUILTIN_TEMPLATES[name], messages, tokens, image_type="image")
    return render(TEMPLATES[name], messages, tokens, images=STYLES.get(name, ImageStyle()))


def shown(parts: list[TextPart | Image]) -> str:
    return "".join(part.source if isinstance(part, Image) else part.text for part in parts)


def untrusted(parts: list[TextPart | Image]) -> str:
    return "\0".join(part.text for part in parts if isinstance(part, TextPart) and not part.trusted)


def are_in_order(texts: list[str], whole: str) -> bool:
    """Whether each is there once, one behind the other; they are distinct."""
    places = [whole.find(text.strip()) for text in texts]
    return places == sorted(places) and -1 not in places and all(whole.count(text.strip()) == 1 for text in texts)


def given_texts(messages: list[Message], *, system: bool) -> list[str]:
    chosen = [message for message in messages if (message.role == "system") == system]
    return [item for message in chosen for item in message.content if isinstance(item, str) and item]


def system(*texts: str) -> Message:
    return Message("system", texts)


def user(*content: str | Image) -> Message:
    return Message("user", content)


def answer(*texts: str) -> Message:
    return Message("assistant", texts)


A, B, *_ = IMAGES
FROM_CLIENTS = {
    "a lone system message": [system("Be brief.")],
    "a system message and an answer": [system("Be brief."), answer("Hello."), user("Hi.")],
    "text and image apart": [user("What is this?"), user(A)],
    "image and text apart": [user(A), user("What is this?")],
    "several system messages": [system("Be brief."), system("Be kind."), user(A, "What is this?")],
    "a system message later": [user("Hello."), answer("Hi."), system("Be brief."), user(A, "What is this?")],
    "a system message last": [user(A, "What is this?"), system("Be brief.")],
    "an answer in two": [user(A, "One?"), answer("a cat"), answer("and a dog"), user("Where?")],
    "a message of nothing": [user(), user(A, "What is this?"), answer()],
    "questions in a row": [user("One?"), user("Two?"), answer("Yes."), user(A), user(B), user("Which?")],
}


@pytest.mark.parametrize("dialogue", FROM_CLIENTS)
@pytest.mark.parametrize("name", [*TEMPLATES, *BUILTIN_TEMPLATES])
def test_nothing_of_what_clients_send_is_refused_or_lost(name: str, dialogue: str) -> None:
    messages = FROM_CLIENTS[dialogue]
    parts = rendered(name, messages)
    for texts in (given_texts(messages, system=True), given_texts(messages, system=False)):
        assert are_in_order(texts, untrusted(parts))
    assert [part for part in parts if isinstance(part, Image)] == [i for message in messages for i in message.images]


@st.composite
def dialogues(draw: st.DrawFn) -> list[Message]:
    """Any order of roles; each text is another, so that it is seen where it went."""
    messages = []
    for number in range(draw(st.integers(1, 6))):
        role = draw(st.sampled_from(["system", "user", "user", "assistant"]))
        kinds = st.sampled_from(["text", "image"] if role == "user" else ["text"])
        content: list[str | Image] = []
        for place, kind in enumerate(draw(st.lists(kinds, max_size=3))):
            blanks = draw(st.sampled_from(["", " ", "\n"]))
            text = (
                f"{blanks}[{number}.{place} {draw(st.sampled_from(['{{ x }}', '<image>', '<|im_end|>', 'ü']))}]{blanks}"
            )
            content.append(text if kind == "text" else draw(st.sampled_from(IMAGES)))
        messages.append(Message(role, tuple(content)))
    return messages


@given(st.sampled_from([*TEMPLATES, *BUILTIN_TEMPLATES]), dialogues())
def test_each_text_and_image_is_in_the_prompt_or_the_dialogue_is_refused(name: str, messages: list[Message]) -> None:
    try:
        parts = rendered(name, messages)
    except UsageError:
        return
    for is_system in (True, False):
        assert are_in_order(given_texts(messages, system=is_system), untrusted(parts))
    assert [part for part in parts if isinstance(part, Image)] == [i for message in messages for i in message.images]


def test_a_dialogue_that_the_template_takes_is_left_as_it_was_sent() -> None:
    messages = [user("One?"), user("Two?"), system("Be brief."), user("Three?")]
    prompt = shown(rendered("qwen3_vl", messages))
    assert prompt == (
        "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_dialogue_that_the_template_refuses_is_joined() -> None:
    messages = [user("One?"), system("Be brief."), user(A), user("Two?"), system("Be kind.")]
    assert shown(rendered("gemma3", messages)) == (
        "<s><start_of_turn>user\nBe brief.\n\nBe kind.\n\nOne?\n\n0.png\n\nTwo?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert shown(rendered("no system role", messages)) == "<s><user>Be brief.\n\nBe kind.\n\nOne?0.pngTwo?"


def test_an_order_of_roles_that_no_joining_mends_is_refused() -> None:
    with pytest.raises(UsageError, match="roles must alternate"):
        rendered("gemma3", [answer("Hello."), user("Hi.")])


def test_a_lone_system_message_is_answered() -> None:
    with load("gemma3") as vlm:  # it was refused as a fault of the model's
        assert vlm.stream([{"role": "system", "content": "Say something."}], max_tokens=2).answer.usage.n_generated
