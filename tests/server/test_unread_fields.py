"""Fields that no route reads: what would change an answer, or holds an image, is refused; the rest does no harm."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server import unread_fields
from ggufvlm.server.contract import Limits, NotServed
from ggufvlm.server.fetch.remote import RemoteRules
from ggufvlm.server.known_fields import AT_START, CHANGES_ANSWER, HARMLESS
from ggufvlm.server.ollama.request import read_chat, read_generate
from ggufvlm.server.openai.messages import read_dialogue
from ggufvlm.server.openai.request import ChatRequest, CompletionRequest
from tests.support.running import image, text, uri, user
from tests.support.small_server import SmallServer

LIMITS = Limits()


def read(route: str, body: dict[str, Any]) -> Any:
    """What a route makes of a body: its settings."""
    if route.startswith("/api/"):
        reads = read_chat if route == "/api/chat" else read_generate
        return reads({"model": "demo", **body}, LIMITS).asked.settings
    if route == "/v1/completions":
        return CompletionRequest.model_validate(body).settings(LIMITS)
    asked = ChatRequest.model_validate(body)
    found = asked.settings(LIMITS)
    asyncio.run(read_dialogue(asked.messages, RemoteRules(), LIMITS))
    return found


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": user("Hello.")},
    "/v1/completions": {"prompt": "Hello."},
    "/api/chat": {"messages": [{"role": "user", "content": "Hello."}]},
    "/api/generate": {"prompt": "Hello."},
}
ROUTES = pytest.mark.parametrize("route", BODIES)


def refused(route: str, body: dict[str, Any]) -> str | None:
    """The field that a route refuses; None if it takes the body."""
    try:
        read(route, body)
    except NotServed as error:
        return error.param if (error.param or "").rpartition(".")[2] in str(error) else f"not told: {error.param}"
    return None


# -- what would change an answer

SOMETHING = {
    **{"min_tokens": 20, "bad_words": ["red"], "typical_p": 0.5, "mirostat": 2, "stop_token_ids": [5]},
    **{"chat_template_kwargs": {"thinking": "sad"}, "ignore_eos": True, "logit_bias": {"5": 3}, "tools": [{}]},
    **{
        "xtc_probability": 0.5,
        "dry_multiplier": 0.8,
        "samplers": ["top_k"],
        "chat_template": "{{ x }}",
        "num_beams": 4,
    },
    **{"guided_choice": ["a"], "grammar": "root ::= x", "skip_special_tokens": False, "extra_body": {"top_k": 1}},
    **{"tfs_z": 0.9, "max_length": 5, "do_sample": False, "lora": [{"id": 0}], "system_prompt": "Lie."},
}


@ROUTES
@pytest.mark.parametrize("name", SOMETHING)
def test_what_would_change_the_answer_is_refused_by_name(route: str, name: str) -> None:
    assert refused(route, {**BODIES[route], name: SOMETHING[name]}) == name
    if route.startswith("/api/"):
        assert refused(route, {**BODIES[route], "options": {name: SOMETHING[name]}}) == f"options.{name}"


@ROUTES
def test_fields_of_the_other_interface_are_refused_by_name(route: str) -> None:
    others = {"n_predict": 5, "temperature": 0.5, "response_format": {"type": "json_object"}, "stop": ["a"], "top_k": 1}
    if route.startswith("/v1/"):
        others = {
            "options": {"seed": 1},
            "num_predict": 5,
            "system": "Lie.",
            "context": [1],
            "think": True,
            "input": "a",
        }
    for name, value in others.items():
        assert refused(route, {**BODIES[route], name: value}) == name


@ROUTES
@pytest.mark.parametrize("name", ["temprature", "max_token", "topP", "maxTokens", "stop_token_id", "Mirostat", "seeed"])
def test_misspelt_fields_are_refused(route: str, name: str) -> None:
    wrong = {name: 0.5}
    place = name
    if route.startswith("/api/"):
        wrong, place = {"options": wrong}, f"options.{name}"
    assert refused(route, {**BODIES[route], **wrong}) == (None if name == "seeed" else place)  # too short to be sure


@ROUTES
def test_values_that_ask_for_nothing_are_taken(route: str) -> None:
    for name, values in CHANGES_ANSWER.items():
        for value in (None, "", [], {}, *values):
            body = {**BODIES[route], name: value}
            if name not in BODIES[route] and name not in _read_by(route):
                assert refused(route, body) is None, body


def _read_by(route: str) -> set[str]:
    if route.startswith("/v1/"):
        return {*(ChatRequest if "chat" in route else CompletionRequest).model_fields}
    return {"format", "options", "system", "context", "think", "raw", "logprobs", "top_logprobs", "template", "tools"}


CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": (
        "/v1/chat/completions",
        {
            **{"store": True, "metadata": {"image": "a photo of mine"}, "user": "me", "service_tier": "auto"},
            **{
                "parallel_tool_calls": True,
                "prompt_cache_key": "a",
                "safety_identifier": "b",
                "reasoning_effort": "low",
            },
            **{"stream_options": {"include_usage": True, "include_obfuscation": False}, "modalities": ["text"]},
        },
    ),
    "llama.cpp's page": (
        "/v1/chat/completions",
        {
            **{
                "cache_prompt": True,
                "samplers": "edkypmxt",
                "dynatemp_range": 0,
                "dynatemp_exponent": 1,
                "typical_p": 1,
            },
            **{"xtc_probability": 0, "xtc_threshold": 0.1, "repeat_last_n": 64, "dry_multiplier": 0, "dry_base": 1.75},
            **{"dry_allowed_length": 2, "dry_penalty_last_n": -1, "timings_per_token": True, "max_tokens": -1},
        },
    ),
    "vLLM's": ("/v1/chat/completions", {"chat_template_kwargs": {}, "skip_special_tokens": True, "min_tokens": 0}),
    "OpenRouter's": (
        "/v1/chat/completions",
        {"provider": {"sort": "price"}, "models": ["a"], "usage": {"include": True}},
    ),
    "Open WebUI": (
        "/api/chat",
        {
            "options": {
                **{
                    "num_thread": 4,
                    "num_gpu": -1,
                    "use_mmap": True,
                    "use_mlock": False,
                    "num_batch": 512,
                    "num_keep": 5,
                },
                **{"mirostat": 0, "mirostat_eta": 0.1, "mirostat_tau": 5.0, "tfs_z": 1, "num_ctx": 4096, "min_p": 0.0},
            },
            "keep_alive": "5m",
        },
    ),
    "Home Assistant": (
        "/api/chat",
        {
            "stream": True,
            "tools": [],
            "think": False,
            "keep_alive": "-1s",
            "options": {"num_ctx": 8192},
            "truncate": True,
        },
    ),
    "LangChain's": (
        "/api/chat",
        {
            "messages": [
                {"role": "user", "content": "a", "images": [], "thinking": None, "tool_calls": [], "name": "me"}
            ]
        },
    ),
    "comfyui-ollama": (
        "/api/generate",
        {"system": "You are an AI artist.", "context": None, "options": {"tfs_z": 1.0, "seed": 7}, "format": ""},
    ),
    "something of its own": ("/v1/completions", {"anything": {"else": 1}, "mode": "chat", "stopping_time": 3}),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_clients_send_and_no_answer_needs_is_taken(client: str) -> None:
    route, more = CLIENTS[client]
    assert refused(route, {**BODIES[route], **more}) is None


def test_what_is_passed_over_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_fields, "_told", set())
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            read("/api/generate", {"prompt": "a", "options": {"num_thread": 4}, "my_own": 1, "keep_alive": "5m"})
    assert [("num_thread" in line, "my_own" in line) for line in caplog.messages] == [(False, True), (True, False)]
    for number in range(1000):
        read("/api/generate", {"prompt": "a", f"other_{number}\n": 1})
    assert len(caplog.messages) <= 201
    assert not any("\n" in line for line in caplog.messages)


def test_no_field_has_two_meanings() -> None:
    assert not HARMLESS & CHANGES_ANSWER.keys()
    assert not AT_START & (CHANGES_ANSWER.keys() | HARMLESS)


# -- several names of one thing


def test_lengths_have_several_names() -> None:
    chat = BODIES["/v1/chat/completions"]
    for more in ({"n_predict": 5}, {"max_new_tokens": 5}, {"max_tokens": 9, "max_completion_tokens": 5}):
        assert read("/v1/chat/completions", {**chat, **more}) == {"max_tokens": 5}
    assert read("/v1/completions", {"prompt": "a", "n_predict": -2}) == {"max_tokens": -1}
    assert read("/v1/completions", {"prompt": "a"}) == {"max_tokens": 16}
    assert refused("/v1/completions", {"prompt": "a", "max_tokens": 3, "n_predict": 5}) == "n_predict"
    assert refused("/v1/completions", {"prompt": "a", "repeat_penalty": 1.1, "repetition_penalty": 1.2})
    assert read("/v1/chat/completions", {**chat, "repeat_last_n": 64})["penalty_last_n"] == 64


SCHEMA = {"const": "42"}


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "name": "a", "strict": True, "schema": SCHEMA}},
        {"response_format": {"type": "json_object", "json_schema": {"schema": SCHEMA}}, "json_schema": SCHEMA},
        {"format": SCHEMA},
        {"json_schema": SCHEMA},
    ],
)
def test_a_schema_counts_wherever_it_stands(route: str, more: dict[str, Any]) -> None:
    constraint = read(route, {**BODIES[route], **more})["constraint"]
    assert (constraint.kind, json.loads(constraint.text)) == ("json_schema", SCHEMA)


def test_formats_that_contradict_themselves_are_refused() -> None:
    for more in (
        {"response_format": {"type": "text", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA, "json_schema": {"schema": {"const": 1}}}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_object", "regex": "[0-9]"}},
        {"format": "json", "response_format": {"type": "json_object", "schema": SCHEMA}},
    ):
        assert refused("/v1/completions", {"prompt": "a", **more}), more
    assert read("/v1/completions", {"prompt": "a", "format": "json"})["constraint"].text == '{"type":"object"}'


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_ANY_NAME = st.sampled_from(
    [
        *CHANGES_ANSWER,
        *HARMLESS,
        *AT_START,
        *ChatRequest.model_fields,
        "images",
        "schema",
        "type",
        "json_schema",
        "name",
    ]
) | st.text(max_size=8)
_ANY_FIELDS = st.dictionaries(_ANY_NAME, _ANYTHING | st.dictionaries(_ANY_NAME, _ANYTHING, max_size=3), max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*BODIES]), _ANY_FIELDS, _ANY_FIELDS)
def test_any_fields_are_read_or_refused(route: str, more: dict[str, Any], inner: dict[str, Any]) -> None:
    body = {**more, **BODIES[route]}
    if "messages" in body:
        body["messages"] = [{**inner, "role": "user", "content": "a"}]
    with contextlib.suppress(GGUFVLMError, ValidationError):  # and nothing else
        read(route, body)


# -- images that nobody would see


def encoded(kind: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


_FILES = st.sampled_from([encoded(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PDF")])
_IMAGES = st.one_of(
    _FILES,
    _FILES.map(lambda body: "\n".join(body[start : start + 76] for start in range(0, len(body), 76))),
    _FILES.map(lambda body: f"data:image/png;base64,{body}"),
    _FILES.map(lambda body: f" DATA:image/jpeg;base64,{body}"),
)
_NAMED = st.sampled_from(
    ["image", "images", "image_url", "image_data", "imageUrl", "img", "input_image", "picture", "image_b64", "photos"]
)
_OTHERS = st.sampled_from(
    ["x", "extra", "data", "url", "metadata", "user", "attachment", "name", "source", "num_thread"]
)
_AROUND: list[Any] = [
    lambda value: value,
    lambda value: [value],
    lambda value: {"url": value},
    lambda value: [{"type": "x", "data": [{"source": value}]}],
    lambda value: {"a": 1, "b": None, "c": [2, {"d": value}]},
]


def _places(route: str) -> list[tuple[str, Any]]:
    """Objects of a body that may hold a field more: each with its place, and what puts it there."""
    body = BODIES[route]
    found: list[tuple[str, Any]] = [("", lambda more: {**more, **body})]
    if "messages" in body:
        said = body["messages"][0]
        found.append(("messages.0.", lambda more: {"messages": [{**more, **said}]}))
        found.append(("messages.1.", lambda more: {"messages": [said, {"role": "assistant", "content": "a", **more}]}))
    if route == "/v1/chat/completions":
        part = "messages.0.content.0."
        found.append((part, lambda more: {"messages": user({**more, **text("a")})}))
        found.append((part, lambda more: {"messages": user({**more, **image()}, "a")}))
        url = {"url": uri()}
        found.append(
            (f"{part}image_url.", lambda more: {"messages": user({"type": "image_url", "image_url": {**more, **url}})})
        )
    if route.startswith("/v1/"):
        found.append(("response_format.", lambda more: {**body, "response_format": {**more, "type": "json_object"}}))
        found.append(("stream_options.", lambda more: {**body, "stream_options": more}))
    else:
        found.append(("options.", lambda more: {**body, "options": {**more, "seed": 1}}))
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_image_in_a_field_that_nobody_reads_is_refused_by_its_place(data: st.DataObject) -> None:
    route = data.draw(st.sampled_from([*BODIES]))
    place, put = data.draw(st.sampled_from(_places(route)))
    name = data.draw(_NAMED | _OTHERS)
    value = data.draw(st.sampled_from(_AROUND))(data.draw(_IMAGES))
    if name in _already_read(route, place):
        return
    found = refused(route, put({name: value}))
    assert found is not None
    assert found.startswith(place + name)


def _already_read(route: str, place: str) -> set[str]:
    if place.endswith("image_url."):
        return {"url"}
    if place.endswith("content.0."):
        return {"image_url"}
    if route == "/api/chat" and place.startswith("messages."):
        return {"images"}
    return {"images"} if route == "/api/generate" and not place else set()


@settings(max_examples=50, deadline=None)
@given(_NAMED, st.sampled_from(["https://example.org/a.png", "a.png", ["a"], {"url": "x"}, [137, 80, 78, 71]]))
def test_fields_with_the_name_of_an_image_are_refused_whatever_they_hold(name: str, value: Any) -> None:
    for route in BODIES:
        if (route, name) != ("/api/generate", "images"):
            assert refused(route, {**BODIES[route], name: value}) == name
            assert refused(route, {**BODIES[route], name: []}) is None


def test_words_that_only_look_a_little_like_images_are_none() -> None:
    for words in ("an image", "Qk" * 60, "data: image", "/workspace/" * 9, "iVBORw0KGgo", "R0lGODlh it begins so" * 5):
        assert refused("/v1/completions", {"prompt": "a", "metadata": {"image": words}, "note": words}) is None


def test_an_image_with_an_empty_prompt_is_asked_about() -> None:
    asked = read_generate({"model": "demo", "prompt": "", "images": [encoded("PNG")]}, LIMITS)
    assert not asked.only_loads
    assert read_generate({"model": "demo", "prompt": ""}, LIMITS).only_loads


# -- over HTTP


def test_over_http() -> None:
    with SmallServer(LIMITS) as small:

        def post(path: str, **body: Any) -> httpx.Response:
            return httpx.post(small.url + path, json={"model": "demo", **body}, timeout=60, trust_env=False)

        schema = {"type": "json_object", "schema": SCHEMA}
        answer = post("/v1/chat/completions", messages=user("Hello."), response_format=schema)
        assert answer.json()["choices"][0]["message"]["content"] == '"42"'
        assert post("/v1/completions", prompt="a", format=SCHEMA).json()["choices"][0]["text"] == '"42"'
        wrong = post("/v1/chat/completions", messages=[{"role": "user", "content": "a", "images": [uri()]}])
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages.0.images")
        assert "image_url" in wrong.json()["error"]["hint"]
        for more in ({"n_predict": 0}, {"max_new_tokens": 0}, {"mirostat": 1}, {"format": {"minLenght": 1}}):
            wrong = post("/v1/chat/completions", messages=user("Hello."), **more)
            assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, *more)
        wrong = post("/api/generate", prompt="a", image_url=uri())
        assert wrong.status_code == 400
        assert "'image_url'" in wrong.json()["error"]
        options = {"num_thread": 0, "num_gpu": -1, "use_mmap": True, "num_batch": 512, "main_gpu": 0, "num_keep": 5}
        taken = post("/api/generate", prompt="a", stream=False, truncate=True, options={**options, "num_predict": 2})
        assert taken.json()["eval_count"] == 2
