"""What the server says of itself."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import SCENE, Running, encoded, started


def test_the_openapi_document_names_everything(server: Running) -> None:
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = set(document["paths"])
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics", "/api/chat"} <= paths
    fields = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"messages", "stream", "response_format", "logprobs", "n", "seed", "max_completion_tokens"} <= set(fields)


def test_the_page_about_it_loads_nothing_and_runs_nothing(server: Running) -> None:
    page = server.get("/docs")
    assert page.status_code == 200
    assert "POST /v1/chat/completions" in page.text
    assert "<script" not in page.text
    assert re.findall(r'(?:src|href)=["\']?([^"\'> ]+)', page.text) == ["openapi.json"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_curl_as_the_page_shows_it(server: Running, tmp_path: Path) -> None:
    import html

    (tmp_path / "photo.png").write_bytes(encoded(SCENE.draw(140, 140)))
    shown = re.search(r"<pre>(.*?)</pre>", server.get("/docs").text, re.DOTALL)
    assert shown
    command = html.unescape(shown[1]).replace("What is this?", "Describe this image.")
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == SCENE.caption


def test_head_is_answered_wherever_there_is_a_get(server: Running) -> None:
    import httpx

    for path in ("/", "/page/app.js", "/health", "/metrics", "/docs", "/v1/models", "/v1/models/demo", "/api/ps"):
        head = httpx.head(server.url + path, trust_env=False)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["Content-Type"] == server.get(path).headers["Content-Type"]
    assert httpx.head(server.url + "/v1/chat/completions", trust_env=False).status_code == 405
    assert httpx.head(server.url + "/nothing", trust_env=False).status_code == 404
    assert server.number("ggufvlm_requests_total", route="/v1/models", status="200") >= 2
    assert "HEAD /v1/models 200" in server.text()


def test_health_and_metrics(server: Running) -> None:
    assert server.get("/health").json() == {"status": "ok"}
    metrics = server.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    before = server.number("ggufvlm_requests_total", route="/v1/models/{name:path}", status="404")
    for number in range(3):
        server.get(f"/v1/models/none-{number}")
    assert server.number("ggufvlm_requests_total", route="/v1/models/{name:path}", status="404") == before + 3
    server.get("/some/where/else")
    assert server.number("ggufvlm_requests_total", route="other", status="404") >= 1


@pytest.mark.slow
def test_whatever_is_sent_is_no_fault_of_the_server(tmp_path: Path) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    with started(tmp_path, "--preload") as server:
        schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
        n_asked = 0

        for operation in schema.get_all_operations():
            found = operation.ok()

            @settings(
                max_examples=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=found.as_strategy())
            def ask(case: Any) -> None:
                nonlocal n_asked
                n_asked += 1
                response = case.call(timeout=60)
                assert response.status_code < 500, (case.as_curl_command(), response.text)

            ask()
        assert n_asked > 200
        assert "Traceback" not in server.text()
        assert server.number("ggufvlm_engine_crashes_total") == 0
