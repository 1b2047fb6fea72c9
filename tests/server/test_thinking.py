"""Thoughts over HTTP: apart from the answer, in the fields where OpenAI's and Ollama's clients look for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ollama
import openai
import pytest

from tests.support.running import Running, question, started
from tests.support.scripted_models import PROJECTOR, write_script

THOUGHT, ANSWER = "I see red, red, red. It may be a square.", "A red square on red."
TEMPLATE = Path(__file__).parents[1] / "data" / "templates" / "qwen3_5.jinja"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("thinking")
    model = write_script(
        folder / "thinker.gguf",
        f"{THOUGHT}</think>\n\n{ANSWER}",
        template=TEMPLATE.read_text(encoding="utf-8"),
        added=("<think>", "</think>"),
    )
    with started(folder, "-m", str(model), "--mmproj", str(PROJECTOR), GGUFVLM_NO_TRIAL="1") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        yield client


@pytest.mark.parametrize(
    "asking",
    [
        {"reasoning_effort": "low"},
        {"extra_body": {"enable_thinking": True}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}},
    ],
)
def test_openai_s_client_gets_thoughts_apart(client: openai.OpenAI, asking: dict) -> None:
    messages = question()["messages"]
    whole = client.chat.completions.create(model="thinker", messages=messages, **asking)
    message = whole.choices[0].message
    assert (message.content, message.model_extra["reasoning_content"]) == (ANSWER, THOUGHT)
    assert whole.usage.completion_tokens_details.reasoning_tokens > 10
    said, thought = "", ""
    for chunk in client.chat.completions.create(model="thinker", messages=messages, stream=True, **asking):
        delta = chunk.choices[0].delta
        said += delta.content or ""
        thought += (delta.model_extra or {}).get("reasoning_content", "")
    assert (said, thought) == (ANSWER, THOUGHT)


def test_without_being_asked_it_does_not_think(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="thinker", messages=question()["messages"], reasoning_effort="none")
    assert "reasoning_content" not in answer.choices[0].message.model_extra
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


def test_openai_s_limit_counts_thoughts(client: openai.OpenAI) -> None:
    messages = question()["messages"]
    answer = client.chat.completions.create(model="thinker", messages=messages, reasoning_effort="high", max_tokens=5)
    assert answer.usage.completion_tokens == 5
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "length")


def test_ollama_s_client_gets_thoughts_apart(server: Running) -> None:
    with ollama.Client(server.url) as client:
        asked = {"model": "thinker", "messages": [{"role": "user", "content": "What is it?"}], "think": True}
        message = client.chat(**asked).message
        assert (message.content, message.thinking) == (ANSWER, THOUGHT)
        pieces = list(client.chat(**asked, stream=True))
        assert "".join(piece.message.content or "" for piece in pieces) == ANSWER
        assert "".join(piece.message.thinking or "" for piece in pieces) == THOUGHT
        made = client.generate("thinker", "What is it?", think="low")
        assert (made.response, made.thinking) == (ANSWER, THOUGHT)


def test_switches_that_contradict_each_other_are_refused(client: openai.OpenAI) -> None:
    more = {"enable_thinking": False, "chat_template_kwargs": {"thinking": True}}
    with pytest.raises(openai.BadRequestError, match="say different things"):
        client.chat.completions.create(model="thinker", messages=question()["messages"], extra_body=more)


def test_variables_of_the_template_are_handed_to_it(client: openai.OpenAI) -> None:
    def prompt_tokens(**told: object) -> int:
        more = {"chat_template_kwargs": {"enable_thinking": True, **told}}
        made = client.chat.completions.create(model="thinker", messages=question()["messages"], extra_body=more)
        assert made.choices[0].message.content == ANSWER
        return made.usage.prompt_tokens

    assert prompt_tokens(add_vision_id=True) > prompt_tokens(add_vision_id=False) == prompt_tokens()


@pytest.mark.parametrize("name", ["add_vison_id", "messages", "bos_token"])
def test_a_variable_that_the_template_has_not_is_refused_by_name(client: openai.OpenAI, name: str) -> None:
    more = {"chat_template_kwargs": {name: "<|im_end|>"}}
    with pytest.raises(openai.BadRequestError, match=f"'{name}'"):
        client.chat.completions.create(model="thinker", messages=question()["messages"], extra_body=more)
