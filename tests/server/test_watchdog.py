"""A model's process that does not answer any more: its requests get 503, health says so, and the next is answered."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import httpx
import pytest

import ggufvlm
from ggufvlm.errors import EngineError
from ggufvlm.server.contract import ClientQuestion, Limits
from ggufvlm.server.engines.engine_probe import EngineProbe
from ggufvlm.server.engines.messages import AskQuestion, QuestionDone
from ggufvlm.server.engines.request_worker import EngineEnded, RequestWorker
from tests.support.running import SCENE, encoded, endless, question, wait_until
from tests.support.small_server import SmallServer


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process as POSIX does")
def test_a_process_that_hangs_is_ended_and_replaced() -> None:
    limits = Limits(silence=3)  # a busy machine is silent for a while, too
    with (
        SmallServer(limits) as server,
        httpx.Client(timeout=60, trust_env=False) as client,
        ThreadPoolExecutor() as pool,
    ):
        chat, health = f"{server.url}/v1/chat/completions", f"{server.url}/health"
        assert client.post(chat, json=question()).json()["choices"][0]["message"]["content"] == SCENE.caption
        assert client.get(health).json() == {"status": "ok"}
        with client.stream("POST", chat, json=endless(stream=True)) as stream:
            lines = stream.iter_lines()
            while '"content"' not in next(lines):
                pass
            (pid,) = server.pool.pids
            os.kill(pid, signal.SIGSTOP)
            others = [pool.submit(client.post, chat, json=question(words)) for words in ("a", "b")]
            rest = [line for line in lines if line]
        error = json.loads(rest[-2].removeprefix("data: "))["error"]
        assert error["code"] == "engine_gone"
        assert "did not answer" in error["message"]
        assert [answer.result().status_code for answer in others] == [503, 503]  # whose answers had not begun
        assert all(answer.result().headers["Retry-After"] for answer in others)
        assert client.get(health).json()["status"] == "degraded"
        assert client.post(chat, json=question()).json()["choices"][0]["message"]["content"] == SCENE.caption
        assert server.pool.pids != [pid]
        assert client.get(health).json() == {"status": "ok"}


@pytest.fixture
def model() -> Any:
    with ggufvlm.VLM.load("demo") as vlm:
        yield vlm


def test_a_step_of_the_engine_that_does_not_end_is_noticed(model: ggufvlm.VLM) -> None:
    probe, release, began = EngineProbe(model, lambda _error: None), threading.Event(), threading.Event()

    def step(_engine: Any) -> None:
        began.set()
        release.wait()

    with ThreadPoolExecutor() as pool:
        pool.submit(model.in_engine_thread, step)
        began.wait()
        assert probe.seconds_unanswered() == 0
        wait_until(lambda: probe.seconds_unanswered() > 0.05)
        release.set()
    wait_until(lambda: probe.seconds_unanswered() == 0)


def test_reading_that_does_not_end_is_noticed(model: ggufvlm.VLM) -> None:
    said: SimpleQueue[Any] = SimpleQueue()
    worker = RequestWorker(model, 1, Limits(), said.put)
    image = {"type": "image", "image": encoded(SCENE.draw(140, 140))}
    asked = ClientQuestion(messages=[{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}])
    release = threading.Event()
    with ThreadPoolExecutor() as pool:
        for _ in range(2):  # all that may decode at a time
            pool.submit(worker._reader._decoder.in_turn, release.wait)
        worker.take(AskQuestion(1, asked))
        wait_until(lambda: worker.pong().reading > 0.05)
        release.set()
        wait_until(lambda: worker.pong().reading == 0)


def test_an_engine_that_ends_without_a_word_ends_its_process(model: ggufvlm.VLM) -> None:
    worker = RequestWorker(model, 1, Limits(), lambda _message: None)
    model.close()
    worker.pong()
    with pytest.raises(EngineEnded, match="closed"):
        worker.relay()


def test_a_question_to_an_engine_that_has_ended_gets_an_error(model: ggufvlm.VLM) -> None:
    said: SimpleQueue[Any] = SimpleQueue()
    worker = RequestWorker(model, 1, Limits(), said.put)
    model.close()
    worker.take(AskQuestion(1, ClientQuestion(messages=[{"role": "user", "content": "What?"}])))
    done = said.get(timeout=60)
    assert isinstance(done, QuestionDone)
    assert done.failure is not None
    assert isinstance(done.failure.error(), EngineError)
