"""The real ``openai`` client against a running server with the built-in model."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.server.openai.request import ChatRequest
from tests.support.running import LONG, OTHER, SCENE, Running, image, question, started, text, uri, user


@pytest.fixture
def client(server: Running) -> Any:
    return openai.OpenAI(base_url=server.v1, api_key="not needed", max_retries=0)


def test_an_answer(client: Any) -> None:
    answer = client.chat.completions.create(model="demo", messages=user(image(), "Describe this image."))
    (choice,) = answer.choices
    assert choice.message.content == SCENE.caption
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert (answer.object, answer.model) == ("chat.completion", "demo")
    assert answer.usage.prompt_tokens == 50
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_the_same_in_pieces(client: Any) -> None:
    stream = client.chat.completions.create(
        model="demo", messages=user(image(), LONG), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    whole = client.chat.completions.create(model="demo", messages=user(image(), LONG))
    assert "".join(said) == whole.choices[0].message.content
    assert len(said) > 20, "the answer came in one piece"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert {chunk.id for chunk in chunks} == {last.id}


def test_several_images_in_one_dialogue(client: Any) -> None:
    messages = [
        {"role": "system", "content": "You describe images."},
        *user(image(SCENE), image(OTHER), "Describe each image."),
    ]
    answer = client.chat.completions.create(model="demo", messages=messages)
    assert answer.choices[0].message.content == f"Image 1: {SCENE.caption} Image 2: {OTHER.caption}"


def test_a_second_turn_computes_only_what_is_new(client: Any) -> None:
    messages: list[dict[str, Any]] = user(image(), "Describe this image.")
    messages += [{"role": "assistant", "content": SCENE.caption}, {"role": "user", "content": "What is on the left?"}]
    answer = client.chat.completions.create(model="demo", messages=messages)
    assert answer.choices[0].message.content == "The blue column."
    assert answer.usage.prompt_tokens_details.cached_tokens >= 25, "the image was computed again"


def test_an_answer_that_is_begun_is_continued(client: Any) -> None:
    messages = [*user(image(), "Describe this image."), {"role": "assistant", "content": "A blue column"}]
    answer = client.chat.completions.create(model="demo", messages=messages)
    assert "A blue column" + answer.choices[0].message.content == SCENE.caption


@pytest.mark.parametrize("more", [{"stop": " on a"}, {"stop": ["purple", " on a"]}])
def test_stop_strings(client: Any, more: dict[str, Any]) -> None:
    answer = client.chat.completions.create(model="demo", messages=user(image(), "Describe this image."), **more)
    assert answer.choices[0].message.content == SCENE.caption.split(" on a")[0]
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_longest_answer(client: Any, name: str) -> None:
    answer = client.chat.completions.create(model="demo", messages=user(image(), "Describe this image."), **{name: 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].stop_reason == "max_tokens"
    assert answer.usage.completion_tokens == 3
    assert SCENE.caption.startswith(answer.choices[0].message.content)


def test_a_seed_gives_the_same_answer_again(client: Any) -> None:
    def ask(seed: int) -> str:
        answer = client.chat.completions.create(
            model="demo", messages=user("Describe this image."), temperature=2.0, seed=seed, max_tokens=30
        )
        return str(answer.choices[0].message.content)

    assert ask(5) == ask(5)
    assert len({ask(seed) for seed in (5, -6, 2**63 - 1)}) > 1


def test_several_answers_to_one_question(client: Any) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=user("Describe this image."), temperature=2.0, seed=1, n=3, max_tokens=20
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    single = client.chat.completions.create(
        model="demo", messages=user("Describe this image."), temperature=2.0, seed=1, max_tokens=20
    )
    assert single.choices[0].message.content == answer.choices[0].message.content
    assert answer.usage.prompt_tokens == single.usage.prompt_tokens
    assert answer.usage.completion_tokens > single.usage.completion_tokens


def test_several_answers_in_one_stream(client: Any) -> None:
    said = ["", ""]
    ends = ["", ""]
    for chunk in client.chat.completions.create(
        model="demo", messages=user(image(), "Describe this image."), n=2, stream=True
    ):
        (choice,) = chunk.choices
        said[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert said == [SCENE.caption, SCENE.caption]
    assert ends == ["stop", "stop"]


def test_logprobs(client: Any) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=user(image(), "What is on the left?"), logprobs=True, top_logprobs=3
    )
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == "The blue column."
    assert len(tokens) == answer.usage.completion_tokens
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.logprob == max(other.logprob for other in token.top_logprobs)
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1 + 1e-6
    assert answer.choices[0].logprobs.content[1].token.strip() == "blue"


def test_logprobs_of_a_stream_are_those_of_the_whole(client: Any) -> None:
    messages, more = user(image(), "What is on the left?"), {"logprobs": True, "top_logprobs": 0}
    whole = client.chat.completions.create(model="demo", messages=messages, **more)
    streamed = []
    for chunk in client.chat.completions.create(model="demo", messages=messages, stream=True, **more):
        streamed += chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else []
    assert [t.token for t in streamed] == [t.token for t in whole.choices[0].logprobs.content]


def test_structured_output(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"left": {"enum": ["red", "blue"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["left", "n"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="demo",
        messages=user(image(), "What is on the left?"),
        response_format={"type": "json_schema", "json_schema": {"name": "row", "schema": schema, "strict": True}},
    )
    found = json.loads(answer.choices[0].message.content)
    assert set(found) == {"left", "n"}
    assert found["left"] in ("red", "blue")
    assert 0 <= found["n"] <= 9


def test_a_pydantic_model(client: Any) -> None:
    row = pydantic.create_model("Row", color=(str, ...), count=(int, ...))
    answer = client.chat.completions.parse(
        model="demo", messages=user(image(), "What is on the left?"), response_format=row, max_tokens=500
    )
    assert isinstance(answer.choices[0].message.parsed, row)


def test_a_schema_that_cannot_be_kept_is_refused(client: Any) -> None:
    for schema, words in (
        ({"type": "object", "minLenght": 3}, "minLenght"),
        ({"type": "no such type"}, "no such type"),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            client.chat.completions.create(
                model="demo",
                messages=user("Hello."),
                response_format={"type": "json_schema", "json_schema": {"name": "row", "schema": schema}},
            )


def bag(size: int) -> dict[str, Any]:
    schema = {"type": "array", "items": {"const": "a"}, "minItems": size, "maxItems": size, "uniqueItems": True}
    return {"type": "json_schema", "json_schema": {"name": "bag", "schema": schema}}


@pytest.mark.parametrize(("size", "says"), [(1, "fits"), (2, "has non-unique elements")])
def test_what_shows_in_the_finished_answer_only_is_told_with_it(client: Any, size: int, says: str) -> None:
    asked = {"model": "demo", "messages": user("Hello."), "response_format": bag(size)}
    (choice,) = client.chat.completions.create(**asked).choices
    assert json.loads(choice.message.content) == ["a"] * size
    assert says in choice.schema_check
    last = list(client.chat.completions.create(**asked, stream=True))[-1].choices[0]
    assert (last.finish_reason, last.schema_check) == ("stop", choice.schema_check)
    (cut,) = client.chat.completions.create(**asked, max_tokens=1).choices
    assert "before it fitted" in cut.schema_check
    (free,) = client.chat.completions.create(
        **{**asked, "response_format": {"type": "json_object"}, "max_tokens": 9}
    ).choices
    assert not hasattr(free, "schema_check")


def test_a_json_object(client: Any) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=user(image(), LONG), response_format={"type": "json_object"}, max_tokens=300
    )
    assert answer.choices[0].message.content.startswith("{")


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").context_length == 4096
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("some/other")


@pytest.mark.parametrize("name", ["gpt-4o", "", " "])
def test_the_only_model_answers_under_all_names_and_says_which_it_is(client: Any, name: str) -> None:
    answer = client.chat.completions.create(model=name, messages=user(image(), "Describe this image."))
    assert (answer.choices[0].message.content, answer.model) == (SCENE.caption, "demo")
    assert client.completions.create(model=name, prompt="A red", max_tokens=1).model == "demo"


def test_low_detail_takes_fewer_tokens(client: Any) -> None:
    def n_prompt(**detail: str) -> int:
        answer = client.chat.completions.create(
            model="demo", messages=user(image(**detail), "Describe this image."), max_tokens=1
        )
        return int(answer.usage.prompt_tokens)

    assert n_prompt(detail="low") < n_prompt(detail="high") == n_prompt(detail="auto") == n_prompt()


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_client_s_own_classes(client: Any, stream: bool) -> None:
    def ask(messages: Any = None, model: str = "demo", **more: Any) -> None:
        client.chat.completions.create(model=model, messages=messages or user("Hello."), stream=stream, **more)

    with pytest.raises(openai.BadRequestError, match="image 1") as bad:
        ask(user(image(b"not an image"), "What?"))
    assert (bad.value.code, bad.value.type) == ("invalid_image", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="does not do 'tools'") as bad:
        ask(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert bad.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="the context holds") as bad:
        ask(user("word " * 9000))
    assert bad.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(temperature=3)


def test_fields_that_ask_for_nothing_do_no_harm(server: Running) -> None:
    more = {
        **{"tools": [], "tool_choice": "none", "functions": [], "logit_bias": {}, "store": False, "user": "me"},
        **{"metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": True, "stream_options": None},
        **{"reasoning_effort": "low", "top_p": 0, "presence_penalty": 0.0, "stop": None, "anything": {"else": 1}},
    }
    answer = server.post(question(**more))
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == SCENE.caption


BAD_SCHEMA = {"name": "row", "schema": {"type": "no such type"}}
JSON_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "row", "schema": {}}}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages that are none": ({"messages": "Hello"}, "messages"),
    "a role": ({"messages": [{"role": "tool", "content": "1"}]}, "messages.0.role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages.0.content"),
    "audio": ({"messages": user({"type": "input_audio", "input_audio": {}})}, "messages.0.content.0.type"),
    "an image part of another kind": ({"messages": user({"type": "image", "image": "x"})}, "messages.0.content.0.type"),
    "an image of the system": ({"messages": [{"role": "system", "content": [image()]}]}, "messages.0.content.0"),
    "a url that is none": ({"messages": user({"type": "image_url"})}, "messages.0.content.0.image_url"),
    "a detail": ({"messages": user(image(detail="best"))}, "messages.0.content.0.image_url.detail"),
    "too many answers": (question(n=9), "n"),
    "no answer": (question(n=0), "n"),
    "top_logprobs alone": (question(top_logprobs=2), "top_logprobs"),
    "a format": (question(response_format={"type": "yaml"}), "response_format.type"),
    "no schema": (question(response_format={"type": "json_schema"}), "response_format.json_schema.schema"),
    "a function": (question(functions=[{"name": "f"}]), "functions"),
    "a choice of tools": (question(tool_choice="required"), "tool_choice"),
    "speech": (question(modalities=["text", "audio"]), "modalities"),
    "biases": (question(logit_bias={"5": 3}), "logit_bias"),
    "content of another type": ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    "a part of another type": ({"messages": [{"role": "user", "content": [text("a"), 5]}]}, "messages.0.content.1"),
    "no role": ({"messages": [{"content": "a"}]}, "messages.0.role"),
    "stop strings of another type": (question(stop=5), "stop"),
    "a stop string of another type": (question(stop=["a", 5]), "stop.1"),
    "a stop string in the way": (question(stop="{", **JSON_SCHEMA), "stop"),
    "a schema": (question(response_format={"type": "json_schema", "json_schema": BAD_SCHEMA}), "response_format"),
    "a schema as llama.cpp takes it": (question(json_schema=BAD_SCHEMA["schema"]), "json_schema"),
    "a schema as Ollama takes it": (question(format=BAD_SCHEMA["schema"]), "format"),
    "no token by another name": (question(n_predict=0), "n_predict"),
    "a count of tokens for penalties": (question(repeat_last_n=2**40), "repeat_last_n"),
    "no token": (question(max_tokens=0), "max_tokens"),
    "no token by its new name": (question(max_completion_tokens=0), "max_completion_tokens"),
    "a penalty": (question(repetition_penalty=1e9), "repetition_penalty"),
    "too long a question": (question("word " * 9000), "messages"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_served_is_refused_by_name(server: Running, name: str) -> None:
    body, param = REFUSED[name]
    answer = server.post(None, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


COMPLETIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({}, "prompt"),
    "a prompt of another type": ({"prompt": 5}, "prompt"),
    "one of them of another type": ({"prompt": ["a", 5]}, "prompt.1"),
    "too long a prompt": ({"prompt": "word " * 9000}, "prompt"),
    "no token": ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_completions_name_their_own_fields(server: Running, name: str) -> None:
    body, param = COMPLETIONS[name]
    answer = server.post(body, "/v1/completions")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "schema", "a"]), inner),
    max_leaves=4,
)


@given(st.sampled_from(sorted({*ChatRequest.model_fields} - {"model", "messages"})), _values)
@settings(deadline=None, max_examples=30)
def test_an_error_names_the_field_that_is_at_fault(server: Running, field: str, value: Any) -> None:
    answer = server.post({"messages": [{"role": "user", "content": "a"}], field: value})
    assert answer.status_code in (200, 400), answer.text
    assert answer.status_code == 200 or answer.json()["error"]["param"].partition(".")[0] == field, answer.text


def test_half_a_character_is_read_as_one_that_stands_for_it(server: Running) -> None:
    for content in ('"a\\ud800"', '[{"type": "text", "text": "a\\udfff"}]'):
        body = f'{{"messages": [{{"role": "user", "content": {content}}}], "max_tokens": 1}}'
        assert server.post(None, content=body).status_code == 200
    answer = server.post(None, "/v1/completions", content='{"prompt": "a\\ud800", "echo": true, "max_tokens": 1}')
    assert answer.json()["choices"][0]["text"].startswith("a\ufffd")
    uri = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,\\ud800"}}'
    answer = server.post(None, content=f'{{"messages": [{{"role": "user", "content": [{uri}]}}]}}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_image")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", ""])
def test_bodies_are_json_whatever_they_are_called(server: Running, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = server.post(None, content=json.dumps(question()), headers=headers)  # the first is what curl -d sends
    assert answer.json()["choices"][0]["message"]["content"] == SCENE.caption


def test_values_that_mean_any(client: Any) -> None:
    def ask(**more: Any) -> str:
        messages = user(image(), "Describe this image.")
        answer = client.chat.completions.create(model="demo", messages=messages, temperature=2, **more)
        return str(answer.choices[0].message.content)

    assert ask(top_p=0, extra_body={"top_k": 0}) == SCENE.caption
    wild = {"max_tokens": 20, "seed": 3}
    assert ask(extra_body={"top_k": -1}, **wild) == ask(extra_body={"top_k": 0}, **wild)
    several = client.chat.completions.create(
        model="demo", messages=user("Describe this image."), temperature=2, seed=-1, n=4, max_tokens=20
    )
    again = client.chat.completions.create(
        model="demo", messages=user("Describe this image."), temperature=2, seed=-1, n=4, max_tokens=20
    )
    said = [choice.message.content for answer in (several, again) for choice in answer.choices]
    assert len(set(said)) > 4, "a seed of -1 is drawn anew each time"


SOURCES = [
    *("/etc/hostname", "file:///etc/hostname", "-", "clipboard:", "*.png", "~/photo.png", "./blocks.png", ""),
    *("ftp://example.org/a.png", "http://example.org/a.png", "HTTPS://example.org/a.png", "data:image/png"),
    *("data:;base64,", "data:image/png;base64,%%%", "data:text/plain,hello", "\\\\server\\share\\a.png", "file:a.png"),
]


@pytest.mark.parametrize("source", SOURCES)
def test_no_text_of_a_client_ever_opens_anything(server: Running, source: str) -> None:
    for value in (source, {"url": source}):
        answer = server.post({"messages": user({"type": "image_url", "image_url": value}, "What is this?")})
        assert answer.status_code == 400, answer.text
        assert "/etc" not in answer.text.replace(source, "")


def test_bodies_that_are_no_json(server: Running) -> None:
    json_type = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"messages": NaN}'):
        answer = server.post(None, content=content, headers=json_type)
        assert answer.status_code == 400, content[:10]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.json()["error"]["param"] is None
        assert "body" in answer.json()["error"]["message"]
    assert server.get("/nothing/here").json()["error"]["message"] == "there is no GET /nothing/here"
    assert server.get("/v1/chat/completions").status_code == 405


def test_a_base_model_s_text_is_continued(client: Any) -> None:
    prompt = "<|im_start|>user\nDescribe"
    answer = client.completions.create(model="demo", prompt=[prompt, "A red"], max_tokens=4, echo=True)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].text.startswith(prompt)
    assert answer.choices[1].text.startswith("A red")
    plain = client.completions.create(model="demo", prompt="A red", max_tokens=4, logprobs=2)
    assert "A red" + plain.choices[0].text == answer.choices[1].text
    logprobs = plain.choices[0].logprobs
    assert "".join(logprobs.tokens) == plain.choices[0].text
    assert len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == plain.usage.completion_tokens
    assert logprobs.text_offset[0] == 0
    pieces = client.completions.create(model="demo", prompt="A red", max_tokens=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == plain.choices[0].text


@pytest.mark.parametrize("more", [{"suffix": "x"}, {"best_of": 3}, {"prompt": [1, 2]}, {"echo": True, "logprobs": 1}])
def test_what_completions_do_not_do(server: Running, more: dict[str, Any]) -> None:
    assert server.post({"prompt": "A", **more}, "/v1/completions").status_code == 400


def test_langchain(server: Running) -> None:
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=server.v1, api_key="none", model="demo", max_retries=0)
    said = HumanMessage(content=[{"type": "image_url", "image_url": {"url": uri()}}, text("What is on the left?")])
    assert chat.invoke([said]).content == "The blue column."
    assert "".join(str(piece.content) for piece in chat.stream([said])) == "The blue column."


def test_with_a_key(tmp_path: Any) -> None:
    with started(tmp_path, "--api-key", "sesame") as server:
        good = openai.OpenAI(base_url=server.v1, api_key="sesame", max_retries=0)
        assert good.models.list().data[0].id == "demo"
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=server.v1, api_key="sesam", max_retries=0).models.list()
