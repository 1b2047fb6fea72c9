"""The server's pure parts."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.server.contract import INDEFINITELY, ClientQuestion
from ggufvlm.server.durations import parse_duration
from ggufvlm.server.engines.crash_quarantine import CrashQuarantine
from ggufvlm.server.engines.images import Decoder
from ggufvlm.server.engines.memory_budget import MemoryBudget
from ggufvlm.server.http.faults import fault_of
from ggufvlm.server.metrics import Metrics
from tests.support.running import SCENE, encoded
from tests.support.tiffs import grey_page, tiff


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(
            ("5m", 300),
            ("30s", 30),
            ("1h30m", 5400),
            ("250ms", 0.25),
            ("0", 0),
            ("-1", INDEFINITELY),
            ("-5m", INDEFINITELY),
        ),
        *((90, 90), (0, 0), (-3, INDEFINITELY), ("1.5h", 5400), (" 2M ", 120), ("1d", 86400)),
    ],
)
def test_lengths_of_time(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "m", "1x", "--1", "5m5", "1e400", math.nan, math.inf, "nan"])
def test_what_is_no_length_of_time(text: str | float) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.text(max_size=12))
def test_any_text_is_a_length_of_time_or_an_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert seconds == INDEFINITELY or 0 <= seconds < math.inf


@given(st.text())
def test_metrics_are_what_prometheus_reads(route: str) -> None:
    metrics = Metrics()
    metrics.requests.labels(route, "200").inc()
    metrics.count_times("demo", 0.2, 3)
    metrics.add_gauge("ggufvlm_models_loaded", "Whether a model is loaded.", lambda: [("demo", 1)])
    families = {family.name: family for family in parser.text_string_to_metric_families(metrics.text().decode())}
    (sample,) = families["ggufvlm_requests"].samples
    assert (sample.name, sample.labels) == ("ggufvlm_requests_total", {"route": route, "status": "200"})
    assert families["ggufvlm_first_token_seconds"].type == "histogram"
    assert families["ggufvlm_models_loaded"].samples[0].value == 1
    assert not [name for name in families if name.endswith("_created")]


def test_images_are_counted_by_their_headers() -> None:
    decoder = Decoder(20_000)
    good = encoded(SCENE.draw(100, 100))
    assert decoder.count_bytes([good, good]) == 60_000
    with pytest.raises(ImageError, match="image 2: 200x200"):
        decoder.count_bytes([good, encoded(SCENE.draw(200, 200))])
    with pytest.raises(ImageError, match="90000 pixels together"):
        decoder.count_bytes([good] * 9)
    with pytest.raises(ImageError, match="image 3"):
        decoder.count_bytes([good, good, b"GIF"])
    with pytest.raises(ImageError, match="image 2: a TIFF of 2 pages"):
        decoder.count_bytes([good, tiff([grey_page(60, 90, 10), grey_page(60, 90, 20)])])
    assert decoder.decode(good, 1).source == "image 1"


def test_models_are_reckoned_with_each_other() -> None:
    free = [1000]
    memory = MemoryBudget(lambda: free[0])
    assert memory.fits(400, loaded=0)
    free[0] = 990  # its weights are mapped from a file: the system calls their pages free
    assert memory.fits(400, loaded=400)
    assert not memory.fits(700, loaded=400)
    free[0] = 300  # something else has taken it
    assert not memory.fits(400, loaded=0)
    assert MemoryBudget(lambda: None).fits(10**15, loaded=10**15)


def test_a_suspect_is_blamed_only_if_it_was_alone() -> None:
    bad = ClientQuestion(messages=[{"role": "user", "content": "bad"}])
    good = ClientQuestion(messages=[{"role": "user", "content": "good"}])

    async def ask(quarantine: CrashQuarantine, asked: ClientQuestion, crash: bool) -> None:
        async with quarantine.watch(asked):
            if crash:
                quarantine.crashed()
            else:
                quarantine.answered(asked)

    async def run() -> None:
        quarantine = CrashQuarantine()
        async with quarantine.watch(good):
            await ask(quarantine, bad, crash=True)
        again = ClientQuestion(messages=[{"role": "user", "content": "bad"}])
        async with quarantine.watch(good):  # it waits its turn, and is not there together with the other
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(ask(quarantine, again, crash=True), 0.05)
            quarantine.answered(good)
        await ask(quarantine, again, crash=True)
        with pytest.raises(UsageError, match="twice"):
            await ask(quarantine, bad, crash=False)
        await ask(quarantine, good, crash=False)

    asyncio.run(run())


def test_paths_of_the_server_are_not_told() -> None:
    from ggufvlm.errors import DownloadError, EngineError, ModelError, OutputError, PairingError

    for kind in (EngineError, ModelError, PairingError, DownloadError, OutputError):
        fault = fault_of(kind("/home/me/models/secret.gguf: damaged", hint="rm /home/me"))
        assert fault.status == 500
        assert "/home" not in fault.message
