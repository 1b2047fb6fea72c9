"""Ollama's own client, and plain HTTP, against a running server with the built-in model."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import ollama
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm.config import SamplingParams
from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import Limits, ModelCard
from ggufvlm.server.ollama.models import running_of
from ggufvlm.server.ollama.options import settings_of
from ggufvlm.server.ollama.request import read_chat, read_generate
from tests.support.scenes import random_scene
from tests.support.small_server import LONG, SmallServer

LIMITS = Limits(images=4)


@pytest.fixture(scope="module")
def server() -> Iterator[SmallServer]:
    with SmallServer(LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def url(server: SmallServer) -> str:
    return server.url


@pytest.fixture(scope="module")
def client(url):
    with ollama.Client(url) as client:
        yield client


def drawn(seed: int) -> tuple[bytes, str]:
    """An image file, and what is on it."""
    scene = random_scene(random.Random(seed), 196, 140)
    file = io.BytesIO()
    scene.draw(196, 140).save(file, "PNG")
    return file.getvalue(), scene.caption


@pytest.fixture(scope="module")
def scene_a():
    return drawn(7)


@pytest.fixture(scope="module")
def scene_b():
    return drawn(8)


def about(image: bytes, question: str = "Describe this image.") -> dict:
    return {"role": "user", "content": question, "images": [image]}


# -- Ollama's client


def test_chat(client, scene_a):
    image, caption = scene_a
    answer = client.chat("demo", [about(image)])
    assert answer.message.content == caption
    assert answer.message.role == "assistant"
    assert (answer.model, answer.done, answer.done_reason) == ("demo", True, "stop")
    assert answer.prompt_eval_count > answer.eval_count > 5
    assert answer.total_duration >= answer.eval_duration > 0


def test_chat_streams_by_pieces(client, scene_a):
    image, caption = scene_a
    *pieces, last = client.chat("demo", [about(image)], stream=True)
    assert "".join(piece.message.content for piece in pieces) == caption
    assert len(pieces) > 3
    assert not any(piece.done for piece in pieces)
    assert (last.done, last.done_reason, last.message.content) == (True, "stop", "")
    assert last.eval_count > 5


def test_a_dialogue_keeps_its_image(client, scene_a):
    image, caption = scene_a
    said = {"role": "assistant", "content": caption}
    dialogue = [about(image), said, {"role": "user", "content": "How many blocks are there?"}]
    assert client.chat("demo", dialogue).message.content == "3."


def test_generate(client, scene_b):
    image, caption = scene_b
    assert client.generate("demo", "Describe this image.", images=[image]).response == caption
    *pieces, last = client.generate("demo", "Describe this image.", images=[image], stream=True)
    assert "".join(piece.response for piece in pieces) == caption
    assert (last.done, last.response) == (True, "")


def test_requests_at_the_same_time_each_get_their_own_answer(url, client):
    scenes = [drawn(seed) for seed in range(20, 26)]

    async def ask_all() -> list[str]:
        async with ollama.AsyncClient(url) as client:
            answers = await asyncio.gather(*(client.chat("demo", [about(image)]) for image, _ in scenes))
        return [answer.message.content for answer in answers]

    answers = asyncio.run(ask_all())
    alone = [client.chat("demo", [about(image)]).message.content for image, _ in scenes]
    assert answers == alone
    assert len(set(answers)) == len(scenes)


def test_options_reach_the_sampler(client, scene_a):
    image, caption = scene_a
    short = client.chat("demo", [about(image)], options={"num_predict": 2})
    assert (short.eval_count, short.done_reason) == (2, "length")
    assert caption.startswith(short.message.content)
    stopped = client.chat("demo", [about(image)], options={"stop": [","]})
    assert stopped.message.content == caption.partition(",")[0]
    hot = {"temperature": 3.0, "top_k": 0, "seed": 5}
    wild = [client.chat("demo", [about(image)], options=hot).message.content for _ in range(2)]
    assert wild[0] == wild[1] != caption
    assert client.chat("demo", [about(image)], options={**hot, "top_k": 1}).message.content == caption


def test_answers_that_fit_a_schema(client, scene_a):
    colours = ["red", "green", "blue"]
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": colours}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "n"],
        "additionalProperties": False,
    }
    answer = json.loads(client.chat("demo", [about(scene_a[0])], format=schema).message.content)
    assert answer["colour"] in colours
    assert 0 <= answer["n"] <= 9


def test_schemas_of_home_assistant(url):
    fields = {
        "entity": {"type": "string", "format": "entity_id", "enum": ["light.hall"]},
        "color": {"const": "red", "nullable": True},
        "areas": {"type": "array", "items": {"const": "a"}, "minItems": 2, "maxItems": 2, "uniqueItems": True},
    }
    schema = {"type": "object", "properties": fields, "required": [*fields], "propertyOrdering": [*fields]}
    closed = {**schema, "propertyNames": {"type": "string"}, "additionalProperties": False}
    body = {"model": "demo", "prompt": "Which lamp?", "format": closed, "stream": False}
    answer = httpx.post(f"{url}/api/generate", json=body).json()
    said = json.loads(answer["response"])
    assert (said["entity"], said["areas"]) == ("light.hall", ["a", "a"])
    assert said["color"] in ("red", None)
    assert answer["schema_check"].startswith("the answer breaks the schema at #/areas: ")


def test_format_json_is_any_object(client, scene_a):
    options = {"num_predict": 200, "repeat_penalty": 1.3}
    answer = client.generate("demo", "Detect all objects.", images=[scene_a[0]], format="json", options=options)
    assert answer.response.startswith("{")
    if answer.done_reason == "stop":
        assert isinstance(json.loads(answer.response), dict)


def test_logprobs(client, scene_a):
    answer = client.chat("demo", [about(scene_a[0])], logprobs=True, top_logprobs=3)
    assert "".join(entry.token for entry in answer.logprobs).strip() == answer.message.content
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 3 for entry in answer.logprobs)
    assert all(entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob for entry in answer.logprobs)
    streamed = [
        entry
        for piece in client.chat("demo", [about(scene_a[0])], logprobs=True, stream=True)
        for entry in piece.logprobs or ()
    ]
    assert [entry.token for entry in streamed] == [entry.token for entry in answer.logprobs]
    assert client.chat("demo", [about(scene_a[0])]).logprobs is None


def test_raw_prompts_go_without_a_template(client, scene_a):
    templated = client.generate("demo", "Describe this image.", images=[scene_a[0]])
    raw = client.generate("demo", "Describe this image.", images=[scene_a[0]], raw=True, options={"num_predict": 5})
    assert 0 < raw.prompt_eval_count < templated.prompt_eval_count


def test_the_model_is_listed(client):
    (model,) = client.list().models
    assert model.model == "demo"
    assert model.details.format == "gguf"
    assert model.size > 1_000_000
    assert len(model.digest) == 64


def test_show(client):
    shown = client.show("demo")
    assert "vision" in shown.capabilities
    assert shown.modelinfo[f"{shown.modelinfo['general.architecture']}.context_length"] > 0
    assert shown.modelinfo["general.parameter_count"] > 100_000
    assert shown.details.parameter_size.endswith("M")
    assert shown.template


def test_models_are_loaded_and_unloaded_on_request(client, scene_a):
    assert client.generate("demo", "", keep_alive="10m").done_reason == "load"
    (model,) = client.ps().models
    assert model.model == "demo"
    assert model.expires_at.tzinfo is not None
    assert model.size_vram is not None
    assert 0 <= model.size_vram <= model.size
    assert client.generate("demo", "", keep_alive=0).done_reason == "unload"
    assert _eventually(lambda: client.ps().models == [])
    answer = client.chat("demo", [about(scene_a[0])], keep_alive=-1)
    assert answer.message.content == scene_a[1]
    assert 0 < answer.load_duration < answer.total_duration
    assert client.chat("demo", [], keep_alive="5m").done_reason == "load"
    assert client.chat("demo", [about(scene_a[0])]).load_duration == 0


def _eventually(holds) -> bool:
    pause = threading.Event()
    for _ in range(100):
        if holds():
            return True
        pause.wait(0.02)
    return False


def test_names_may_have_ollamas_tag(client, scene_a):
    answer = client.chat("demo:latest", [about(scene_a[0])])
    assert (answer.message.content, answer.model) == (scene_a[1], "demo:latest")


@pytest.mark.parametrize("call", ["chat", "generate", "show"])
def test_unknown_models(client, call):
    """Without a question these load a model, or tell of it."""
    with pytest.raises(ollama.ResponseError, match="no-such-model") as caught:
        getattr(client, call)("no-such-model")
    assert caught.value.status_code == 404


@pytest.mark.parametrize("name", ["llava:7b", ""])
def test_the_only_model_answers_under_all_names_and_says_which_it_is(url, scene_a, name):
    image = base64.b64encode(scene_a[0]).decode()
    body = {"model": name, "prompt": "Describe this image.", "images": [image], "stream": False}
    answer = httpx.post(f"{url}/api/generate", json=body).json()
    assert (answer["response"], answer["model"]) == (scene_a[1], "demo")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda client: client.pull("llava"), "ggufvlm pull"),
        (lambda client: list(client.pull("llava", stream=True)), "ggufvlm pull"),
        (lambda client: client.push("llava"), "/api/push is not served"),
        (lambda client: client.create("mine", from_="llava"), "/api/create is not served"),
        (lambda client: client.copy("demo", "mine"), "/api/copy is not served"),
        (lambda client: client.delete("demo"), "/api/delete is not served"),
        (lambda client: client.embed("demo", "text"), "embeddings"),
        (lambda client: client.embeddings("demo", "text"), "embeddings"),
        (lambda client: client.chat("demo", [{"role": "user", "content": "a"}], think=True), "does not think"),
        (lambda client: client.chat("demo", [about(b"x")], tools=[_eventually]), "tools"),
        (lambda client: client.chat("demo", [{"role": "tool", "content": "4"}]), "tools"),
        (lambda client: client.generate("demo", "a", suffix="b"), '"suffix" is not served'),
        (lambda client: client.generate("demo", "a", template="{{ .Prompt }}"), '"template" is not served'),
        (lambda client: client.generate("demo", "a", context=[1, 10**9]), "no token of this model"),
        (lambda client: client.generate("demo", "a", system="b", raw=True), "raw mode"),
        (lambda client: client.generate("demo", "a", options={"typical_p": 0.5}), "top_p or min_p"),
        (lambda client: client.generate("demo", "a", options={"mirostat": 2}), "'options.mirostat'"),
        (lambda client: client.generate("demo", "a", options={"temperature": "hot"}), '"temperature" must be a number'),
        (lambda client: client.generate("demo", "a", options={"temperature": -1}), "temperature must not be negative"),
        (lambda client: client.generate("demo", "a", options={"stop": "x"}), "list of strings"),
        (lambda client: client.generate("demo", "a", images=[b"no image"]), "image 1"),
        (lambda client: client.generate("demo", "a", images=[b"x"] * 5), "5 images are more"),
        (lambda client: client.generate("demo", "a", format={"type": "nonsense"}), "nonsense"),
        (lambda client: client.generate("demo", "a", keep_alive="soon"), "length of time"),
        (lambda client: client.chat("demo", [{"role": "king", "content": "a"}]), "king"),
        (lambda client: client.generate("demo", "word " * 5000), "context"),
        (lambda client: list(client.generate("demo", "word " * 5000, stream=True)), "context"),
    ],
)
def test_what_is_refused_says_so(client, call, says):
    with pytest.raises(ollama.ResponseError, match=says) as caught:
        call(client)
    assert caught.value.status_code == 400
    assert "\n" not in caught.value.error


# -- plain HTTP


def test_streaming_is_the_default_and_is_json_lines(url, scene_a):
    image = base64.b64encode(scene_a[0]).decode()
    body = {"model": "demo", "prompt": "Describe this image.", "images": [image]}
    answer = httpx.post(f"{url}/api/generate", content=json.dumps(body))  # as curl -d: no JSON content type
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(line["response"] for line in lines) == scene_a[1]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert {"total_duration", "load_duration", "prompt_eval_count", "eval_duration"} <= lines[-1].keys()


def test_images_as_base64_writes_them(url, scene_a):
    """With line breaks, as ``base64`` puts them, or as a data URI, which pages make."""
    wrapped = base64.encodebytes(scene_a[0]).decode()
    for image in (wrapped, "data:image/png;base64," + wrapped.replace("\n", "")):
        body = {"model": "demo", "prompt": "Describe this image.", "images": [image], "stream": False}
        assert httpx.post(f"{url}/api/generate", json=body).json()["response"] == scene_a[1]


def test_half_a_character_is_read_as_ollama_reads_it(url):
    for field in ('"prompt": "a\\ud800"', '"prompt": "a", "options": {"stop": ["\\udfff"]}'):
        answer = httpx.post(f"{url}/api/generate", content='{"model": "demo", "stream": false, ' + field + "}")
        assert answer.status_code == 200, answer.text
    answer = httpx.post(f"{url}/api/show", content='{"model": "demo\\ud800"}')
    assert (answer.status_code, "demo\ufffd" in answer.json()["error"]) == (404, True)


def test_top_p_0_is_the_most_probable_token(client, scene_a):
    hot = {"temperature": 5.0, "top_k": 0, "top_p": 0}
    assert client.chat("demo", [about(scene_a[0])], options=hot).message.content == scene_a[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/api/tags", "/api/version"])
def test_clients_that_ask_whether_somebody_is_there(url, method, path):
    assert httpx.request(method, url + path).status_code == 200


def test_version(url):
    major, minor, patch = httpx.get(f"{url}/api/version").json()["version"].split(".")
    assert (int(major), int(minor)) >= (0, 6)  # from where clients expect to be able to ask for capabilities
    assert int(patch) >= 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"model": 1e999}',
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"model": "demo", "prompt": "a", "keep_alive": 1e999}',
        b'{"model": "demo", "prompt": "a", "options": {"seed": 1e999}}',
        b'{"model": "demo", "prompt": "a", "options": {"seed": 99999999999999999999}}',
        b'{"model": "demo", "prompt": "a", "images": ["/etc/passwd"]}',
        b'{"model": "demo", "prompt": "a", "images": ["file:///etc/passwd"]}',
        b'{"model": "demo", "prompt": "a", "images": ["http://127.0.0.1/a.png"]}',
        b'{"model": "demo", "prompt": "a", "images": [{"path": "/etc/passwd"}]}',
        b'{"prompt": "a"}',
    ],
    ids=lambda body: repr(body[:80]),
)
def test_bad_bodies(url, body):
    answer = httpx.post(f"{url}/api/generate", content=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert "root:" not in answer.text


def test_a_client_that_hangs_up_frees_its_slot(server, url, client, scene_a):
    for _ in range(6):  # three times as many as there are slots
        with httpx.stream("POST", f"{url}/api/generate", json=LONG) as answer:
            assert not json.loads(next(answer.iter_lines()))["done"]
    assert _eventually(lambda: server.pool.n_open == 0)
    assert client.chat("demo", [about(scene_a[0])]).message.content == scene_a[1]


def test_keys_are_sent_as_ollamas_client_sends_them():
    with SmallServer(LIMITS, api_key="sesame") as small:
        with ollama.Client(small.url) as stranger, pytest.raises(ollama.ResponseError, match="key") as caught:
            stranger.list()
        assert caught.value.status_code == 401
        with ollama.Client(small.url, headers={"Authorization": "Bearer sesame"}) as guest:
            assert len(guest.list().models) == 1
        assert httpx.head(small.url).status_code == 200  # whether somebody is there is no secret


def test_an_engine_that_ends_in_the_middle_is_told_and_replaced(scene_a):
    with SmallServer(LIMITS) as small, ollama.Client(small.url) as client:
        assert client.chat("demo", [about(scene_a[0])]).message.content == scene_a[1]
        pieces = client.generate("demo", "a", format=LONG["format"], options=LONG["options"], stream=True)
        assert not next(pieces).done
        for pid in small.pool.pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ollama.ResponseError) as caught:
            list(pieces)
        assert caught.value.error
        assert client.chat("demo", [about(scene_a[0])]).message.content == scene_a[1]


# -- the reading of bodies alone


def test_what_lies_on_a_gpu_is_told_as_a_part_of_the_size():
    card = ModelCard(name="a", created=0, size=1000, digest="", is_loaded=True)
    sizes = [running_of(replace(card, on_gpu=fraction))["size_vram"] for fraction in (0.0, 0.25, 1.0)]
    assert sizes == [0, 250, 1000]


def test_texts_for_a_log_hold_no_images(scene_a):
    image = base64.b64encode(scene_a[0]).decode()
    dialogue = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?", "images": [image]}]
    assert "".join(read_chat({"model": "demo", "messages": dialogue}, LIMITS).texts) == "Be short.Why?"
    assert "".join(read_generate({"model": "demo", "prompt": "Why?", "raw": True}, LIMITS).texts) == "Why?"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_TEXTS = ["model", "prompt", "system", "format", "keep_alive", "role", "content"]
_OTHERS = ["messages", "images", "options", "stream", "raw", "logprobs", "top_logprobs", "context"]
_known = st.sampled_from(_TEXTS + _OTHERS)
_options = st.sampled_from(["temperature", "top_k", "top_p", "min_p", "seed", "num_predict", "num_ctx", "mirostat"])


@given(st.dictionaries(_known, _json | st.lists(st.dictionaries(_known, _json, max_size=4), max_size=2), max_size=6))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_body_is_read_or_refused(body):
    for read in (read_chat, read_generate):
        with contextlib.suppress(GGUFVLMError):  # and nothing else
            request = read(body, LIMITS)
            assert request.model == (body.get("model") or body.get("name") or "")


@given(st.dictionaries(_options, _json))
def test_any_options_are_read_or_refused(options):
    with contextlib.suppress(GGUFVLMError):
        assert SamplingParams(**settings_of(options)).max_tokens != 0


def test_options_mean_what_they_mean_to_ollama():
    assert settings_of({"num_predict": -1}) == settings_of({"num_predict": -2}) == {"max_tokens": -1}
    assert settings_of({"seed": -1}) == {"seed": None}
    assert settings_of({"top_k": -1}) == {"top_k": 0}
    assert settings_of({"repeat_last_n": 0, "repeat_penalty": 1.5}) == {"penalty_last_n": 0, "repeat_penalty": 1.5}
    assert settings_of({"seed": 3.0, "temperature": None, "mirostat": 0, "num_ctx": 8192}) == {"seed": 3}
