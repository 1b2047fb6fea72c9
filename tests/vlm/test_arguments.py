"""What the Python interface is called with: our errors only, nothing hangs, and the model answers afterwards."""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm import VLM, Chat, GGUFVLMError, Question, SamplingParams, UsageError
from ggufvlm.config import SamplingSettings
from tests.support.images import encode, halves

PNG = encode(halves(8, 8), "PNG")
ODD = [None, True, 0, -1, 1.5, 10**30, -(2**63), 1e-38, 1e39, float("nan"), "", "x", "\0", "\ud800", b"x", (), [], [1]]
ODD += [{}, {"a": 1}, object(), np.float32(0.5), np.int64(3), np.zeros(3), lambda: 1]
IMAGES = [PNG, bytearray(PNG), memoryview(PNG), np.zeros((8, 8)), np.zeros((8, 8, 3), np.uint8), "none.png", Path("x")]

odd = st.sampled_from(ODD)
images = st.one_of(odd, st.sampled_from(IMAGES), st.lists(st.sampled_from([*IMAGES, *ODD]), max_size=2))
settings_given = st.dictionaries(st.sampled_from([*SamplingSettings.__annotations__, "foo"]), odd, max_size=2)
messages = st.one_of(
    odd,
    st.lists(
        st.one_of(odd, st.fixed_dictionaries({"role": odd | st.just("user"), "content": odd | st.just("Hi")})),
        max_size=3,
    ),
)


def bounded(given: Any) -> dict[str, Any]:
    """What was drawn, and an end after two tokens where it does not say otherwise."""
    wanted = {"max_tokens": 2, **given}
    n = wanted["max_tokens"]
    return {**wanted, "max_tokens": 2} if isinstance(n, (int, np.integer)) and n == -1 else wanted


def ask_in_every_way(vlm: VLM, image: Any, prompt: Any, given: Any, dialogue: Any) -> None:
    asked = bounded(given)
    for ask in (
        lambda: vlm.describe(image, prompt, **asked),
        lambda: vlm.stream(dialogue, **asked).answer,
        lambda: Chat(vlm, **asked).send(prompt, image),
        lambda: vlm.measure(dialogue, prefill=prompt),
        lambda: SamplingParams(**given) if "foo" not in given else None,
    ):
        with contextlib.suppress(GGUFVLMError):
            ask()
    results = list(
        vlm.map(
            [
                Question(prompt=prompt, images=image, settings=asked),
                Question(prompt="Hi", images=PNG, settings={"max_tokens": 1}),
            ]
        )
    )
    assert sum(result.answer is not None for result in results) >= 1, "one bad question stops no other"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images, prompt=odd, given=settings_given, dialogue=messages)
def test_our_errors_only(demo: VLM, image: Any, prompt: Any, given: Any, dialogue: Any) -> None:
    ask_in_every_way(demo, image, prompt, given, dialogue)


@pytest.mark.slow
@settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images, prompt=odd, given=settings_given, dialogue=messages)
def test_our_errors_only_for_long(demo: VLM, image: Any, prompt: Any, given: Any, dialogue: Any) -> None:
    ask_in_every_way(demo, image, prompt, given, dialogue)
    assert demo.describe(PNG, max_tokens=1).usage.n_generated == 1


def test_no_image_is_not_asked_about(demo: VLM) -> None:
    for nothing in ([], ()):
        with pytest.raises(UsageError, match="no image to ask about"):
            demo.describe(nothing, "What is this?")


def test_a_tiny_temperature_is_none(demo: VLM) -> None:
    """32-bit floats divide logits by it to infinity, and the answer was random text."""
    exact = demo.describe(PNG, max_tokens=20, temperature=0).text
    for tiny in (1e-38, 1e-45, 1e-300, 1e-7):
        assert demo.describe(PNG, max_tokens=20, temperature=tiny).text == exact


def test_one_stop_string_is_one(demo: VLM) -> None:
    assert SamplingParams(stop="abc").stop == ("abc",)  # type: ignore[arg-type]
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(demo: VLM) -> None:
    answer = demo.describe(PNG, max_tokens=np.int64(2), temperature=np.float32(0.5), seed=np.int32(1))
    assert answer.usage.n_generated <= 2


def test_a_chat_takes_one_question_at_a_time(demo: VLM) -> None:
    chat = Chat(demo, max_tokens=30, stop=())
    first = chat.stream("Hi", [PNG])
    with pytest.raises(UsageError, match="still being answered"):
        chat.send("And now?")
    with pytest.raises(UsageError, match="still being answered"):
        chat.stream("And now?")
    assert first.answer.text
    assert chat.send("And now?").text
    assert [turn.text for turn in chat.turns] == ["Hi", "And now?"]


def test_an_answer_that_is_given_up_makes_room_for_the_next(demo: VLM) -> None:
    chat = Chat(demo, max_tokens=5)
    chat.stream("Hi", [PNG]).close()
    assert chat.send("Hi").text is not None
    chat.stream("Again")  # which nobody holds
    assert len(chat.turns) == 1 or chat.turns[-1].text == "Hi"
    assert chat.send("And now?").text is not None


def test_threads_on_one_chat_lose_no_turn(demo: VLM) -> None:
    chat = Chat(demo, max_tokens=3)
    told: list[str] = []

    def ask(number: int) -> None:
        try:
            chat.send(f"Question {number}")
            told.append("answered")
        except UsageError:
            told.append("refused")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(told) == 4
    assert told.count("answered") == len(chat.turns) >= 1


def test_an_open_file_that_is_read_twice_says_so(demo: VLM) -> None:
    file = io.BytesIO(PNG)
    assert demo.describe(file, max_tokens=1).text is not None
    with pytest.raises(GGUFVLMError, match="nothing is left to read"):
        demo.describe(file, max_tokens=1)
