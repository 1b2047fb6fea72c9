"""Several models: loaded when asked, unloaded when nobody asks or another one needs the room."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.cli.serve.aliases import read_aliases
from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.models.resolve import find_model
from ggufvlm.server.contract import INDEFINITELY, Begun, ClientQuestion, Done, EngineGone, Limits, Piece, UnknownModel
from ggufvlm.server.engines.messages import Load
from ggufvlm.server.engines.pool import EnginePool
from ggufvlm.server.metrics import Metrics
from tests.support.running import SCENE, Running, encoded, endless, question, started

DEMO = Path(ggufvlm.__file__).parent / "demo"
NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built-in model under several names, each with its projector in a folder of its own."""
    paths = []
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(DEMO / "mmproj-tiny-qwen2vl-F16.gguf", folder)
        paths.append(Path(shutil.copy(DEMO / "tiny-qwen2vl-Q8_0.gguf", folder / f"{name}.gguf")))
    return paths


def caption(server: Running, model: str) -> str:
    return str(server.post(question(model=model)).json()["choices"][0]["message"]["content"])


def loaded(server: Running) -> list[str]:
    return [model["id"] for model in server.get("/v1/models").json()["data"] if model["loaded"]]


def options(copies: list[Path]) -> list[str]:
    return [word for path in copies for word in ("-m", str(path))]


def test_models_are_loaded_when_they_are_asked(tmp_path: Path, copies: list[Path]) -> None:
    with started(tmp_path, *options(copies)) as server:
        assert loaded(server) == []
        assert caption(server, "beta") == SCENE.caption
        assert loaded(server) == ["beta"]
        assert server.post(question()).json()["model"] == "alpha", "the first is the default"
        assert server.post(question(model="BETA:latest")).json()["model"] == "beta"
        assert loaded(server) == ["alpha", "beta"]
        assert server.number("ggufvlm_model_loads_total") == 2


@pytest.mark.slow
def test_a_model_that_nobody_asks_is_unloaded(tmp_path: Path, copies: list[Path]) -> None:
    with started(tmp_path, *options(copies[:1]), "--keep-alive", "400ms") as server:
        assert caption(server, "alpha") == SCENE.caption
        server.wait_for("ggufvlm_model_loaded", 0)
        server.wait_until_alone()
        assert caption(server, "alpha") == SCENE.caption
        server.post({"model": "alpha", "prompt": "Hello.", "keep_alive": -1}, "/api/generate")
        assert server.get("/api/ps").json()["models"]
        server.post({"model": "alpha", "prompt": "Hello.", "keep_alive": 0}, "/api/generate")
        server.wait_for("ggufvlm_model_loaded", 0)
        assert server.number("ggufvlm_engine_crashes_total") == 0


def test_a_long_answer_outlives_the_keep_alive(tmp_path: Path, copies: list[Path]) -> None:
    with started(tmp_path, *options(copies[:1]), "--keep-alive", "0") as server:
        assert server.post(endless(max_tokens=600)).json()["usage"]["completion_tokens"] == 600
        server.wait_for("ggufvlm_model_loaded", 0)


def test_the_one_not_used_longest_makes_room(tmp_path: Path, copies: list[Path]) -> None:
    with started(tmp_path, *options(copies), "--max-loaded", "2") as server:
        for name in ("alpha", "beta", "alpha", "gamma"):
            assert caption(server, name) == SCENE.caption
        assert loaded(server) == ["alpha", "gamma"]


@pytest.mark.slow
def test_nobody_waits_for_ever_where_only_one_model_fits(tmp_path: Path, copies: list[Path]) -> None:
    """All are asked all the time: none can be idle by itself."""
    with started(tmp_path, *options(copies), "--max-loaded", "1", "--slots", "2") as server:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda number: caption(server, NAMES[number % 3]), range(12)))
        assert set(answers) == {SCENE.caption}
        assert len(loaded(server)) == 1
        assert len(server.children) == 1


def in_pool(
    copies: list[Path],
    work: Callable[[EnginePool], Awaitable[None]],
    free: Callable[[], int | None] = lambda: None,
    aliases: tuple[str, ...] = (),
) -> None:
    """Do some work with these models; ``aliases`` are other names of the first."""

    async def run() -> None:
        config = EngineConfig(n_slots=2, use_cache=False)
        loads = [Load(files=find_model(str(path)), config=config, limits=Limits()) for path in copies]
        loads[0] = replace(loads[0], aliases=aliases)
        pool = EnginePool(loads, Metrics(), keep_alive=INDEFINITELY, free_memory=free)
        try:
            await work(pool)
        finally:
            await pool.stop()

    asyncio.run(run())


def asked(name: str | None) -> ClientQuestion:
    image = {"type": "image", "image": encoded(SCENE.draw(140, 140))}
    content = [image, {"type": "text", "text": "Describe this image."}]
    return ClientQuestion(model=name, messages=[{"role": "user", "content": content}])


async def answer(pool: EnginePool, name: str | None) -> str:
    events = [event async for event in pool.ask(asked(name))]
    assert isinstance(events[0], Begun)
    assert isinstance(events[-1], Done)
    assert "".join(event.text for event in events if isinstance(event, Piece)) == events[-1].answer.text
    return events[-1].answer.text


def test_models_leave_when_memory_is_short(copies: list[Path]) -> None:
    taken: list[int] = []

    async def work(pool: EnginePool) -> None:
        needed = max(model.needed for model in pool._models)
        taken.append(int(2.5 * needed))
        for name in ("alpha", "beta"):
            assert await answer(pool, name) == SCENE.caption
        assert [card.name for card in pool.cards() if card.is_loaded] == ["alpha", "beta"]
        assert await answer(pool, "gamma") == SCENE.caption
        assert [card.name for card in pool.cards() if card.is_loaded] == ["beta", "gamma"]

    in_pool(copies, work, lambda: taken[0] if taken else None)


def test_what_is_known_of_a_model(copies: list[Path]) -> None:
    async def work(pool: EnginePool) -> None:
        card = pool.card("beta")
        assert (card.name, card.architecture, card.n_ctx, card.is_loaded) == ("beta", "qwen2vl", 4096, False)
        assert card.size == sum(path.stat().st_size for path in copies[1].parent.iterdir())
        assert card.parameters > 1_000_000
        assert len(card.digest) == 64
        assert "image" in card.template
        assert pool.card(None).name == "alpha"
        for find in (pool.card, pool.card_to_answer):
            with pytest.raises(UnknownModel, match="'delta'") as unknown:
                find("delta")
            assert "--alias delta=MODEL" in str(unknown.value.hint)

    in_pool(copies, work)


def test_the_only_model_answers_for_all_names(copies: list[Path]) -> None:
    async def work(pool: EnginePool) -> None:
        for name in ("gpt-4o", "delta", "", " ", None):
            assert pool.card_to_answer(name).name == "alpha"
        with pytest.raises(UnknownModel):
            pool.card("gpt-4o")  # what it is told of, it is told truly

    in_pool(copies[:1], work)


def test_other_names_of_a_model(tmp_path: Path, copies: list[Path]) -> None:
    names = ("--alias", "GPT-4o=beta", "--alias", f"llava:7b={copies[1]}")
    with started(tmp_path, *options(copies[:2]), *names) as server:
        assert server.post(question(model="gpt-4o")).json()["model"] == "beta"
        body = {"model": "llava:7b", "prompt": "Hello.", "stream": False, "options": {"num_predict": 1}}
        assert server.post(body, "/api/generate").json()["model"] == "llava:7b"
        assert loaded(server) == ["beta", "GPT-4o", "llava:7b"]
        assert [model["name"] for model in server.get("/api/ps").json()["models"]] == ["beta"]
        assert [model["name"] for model in server.get("/api/tags").json()["models"]][2] == "GPT-4o"
        assert server.get("/v1/models/gpt-4o").json()["id"] == "beta"
        refused = server.post(question(model="gpt-4.1"))
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "model")
        assert refused.json()["error"]["hint"].endswith("--alias gpt-4.1=MODEL")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_model_whose_file_has_a_name_that_is_no_utf_8(tmp_path: Path, copies: list[Path]) -> None:
    odd = tmp_path / "mod\udcff.gguf"
    shutil.copy(copies[0], odd)
    shutil.copy(next(copies[0].parent.glob("mmproj*")), tmp_path)

    async def work(pool: EnginePool) -> None:
        assert [card.name for card in pool.cards()] == ["mod\ufffd"]
        assert await answer(pool, "mod\ufffd") == SCENE.caption

    in_pool([odd], work)


def test_leaving_early_frees_the_slot(copies: list[Path]) -> None:
    async def work(pool: EnginePool) -> None:
        await pool.load("alpha")
        for _ in range(20):
            async with aclosing(pool.ask(asked("alpha"))) as events:
                await anext(events)
        give_up = asyncio.get_running_loop().time() + 20
        while pool.n_open:
            assert asyncio.get_running_loop().time() < give_up
            await asyncio.sleep(0.01)
        assert await answer(pool, "alpha") == SCENE.caption

    in_pool(copies, work)


def test_stopping_ends_what_runs(copies: list[Path]) -> None:
    async def work(pool: EnginePool) -> None:
        loading = asyncio.ensure_future(answer(pool, "alpha"))
        await asyncio.sleep(0.05)
        await pool.stop()
        with pytest.raises((EngineGone, asyncio.CancelledError)):
            await loading
        with pytest.raises(EngineGone):
            await answer(pool, "alpha")

    in_pool(copies, work)


@pytest.mark.parametrize("alias", ["a=delta", "a", "=beta", "a=", ""])
def test_an_alias_of_nothing(alias: str) -> None:
    with pytest.raises(UsageError, match="--alias"):
        read_aliases([alias], [("A.gguf", "alpha"), (None, "beta")])


def test_aliases_belong_to_the_model_they_name() -> None:
    models = [("folder/A.gguf", "alpha"), (None, "beta")]
    given = ["one=ALPHA", "two=folder/a.gguf", "three = beta"]
    assert read_aliases(given, models) == [("one", "two"), ("three",)]
    assert read_aliases(["one", "two=alpha"], models[:1]) == [("one", "two")]
    assert read_aliases([], models) == [(), ()]


def test_an_alias_that_is_taken(copies: list[Path]) -> None:
    with pytest.raises(UsageError, match="two models are called beta") as taken:
        in_pool(copies[:2], lambda _pool: asyncio.sleep(0), aliases=("BETA",))
    assert "--alias" in str(taken.value.hint)


def test_two_models_of_one_name(copies: list[Path]) -> None:
    with pytest.raises(UsageError, match="alpha"):
        in_pool([copies[0], copies[0]], lambda _pool: asyncio.sleep(0))
