"""Who may ask: names, other sites' pages, keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.running import Running, image, question, started, user, wait_until

KEY = {"Authorization": "Bearer open sesame"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("localhost", "127.0.0.1", "LOCALHOST:1", "[::1]", "[::1]:80", "localhost.:9")),
        *(
            (name, 200)
            for name in ("host.docker.internal:8080", "0.0.0.0:80", "x.localhost", "10.0.0.1", "[fe80::1]:1")
        ),
        *((name, 403) for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "8.8.8.8", "")),
        *((name, 403) for name in ("user@evil.example", "[::1", "localhost@evil.example", "a b", "2130706433")),
    ],
)
def test_names_of_the_server(server: Running, host: str, status: int) -> None:
    for path in ("/health", "/v1/models", "/api/tags", "/"):
        answer = server.get(path, headers={"Host": host})
        assert answer.status_code == status, path


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("self", 200),
        *((origin, 200) for origin in ("http://localhost:3000", "https://localhost", "http://[::1]:5173")),
        *((origin, 200) for origin in ("app://obsidian.md", "vscode-webview://x", "tauri://localhost", "file://")),
        *((origin, 403) for origin in ("http://evil.example", "http://localhost.evil.example:3000", "null", "")),
        *((origin, 403) for origin in ("chrome-extension://abcdef", "http://192.168.1.5:3000", "ftp://localhost")),
    ],
)
def test_pages_of_other_sites(server: Running, origin: str, status: int) -> None:
    sent = server.url if origin == "self" else origin
    for kind in ("application/json", "text/plain"):  # the second is what a page may send without asking
        answer = server.post(
            None,
            "/api/generate",
            content='{"model": "demo", "prompt": ""}',
            headers={"Origin": sent, "Content-Type": kind},
        )
        assert answer.status_code == status
        readable_by = sent if status == 200 and origin != "self" else None
        assert answer.headers.get("access-control-allow-origin") == readable_by


def test_what_an_option_would_allow_names_it(server: Running) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    for body, option in (
        ({"messages": user(url)}, "--allow-urls"),
        ({"messages": user(*[image()] * 17)}, "--max-images"),
    ):
        assert option in server.post(body).json()["error"]["hint"]
    assert "--max-images" in server.post({"model": "demo", "images": ["aGk="] * 17}, "/api/generate").json()["error"]
    for content in (b" " * 32_000_001, iter([b" " * 1_000_000] * 33)):  # the second has no announced length
        answer = server.post(None, content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert "--max-body" in answer.json()["error"]["hint"]


def test_the_refused_are_told_the_way_in(server: Running) -> None:
    for path in ("/v1/models", "/api/tags"):
        for headers, way in (
            ({"Host": "vlm.example:8080"}, "--allow-host vlm.example"),
            ({"Origin": "https://app.example"}, "--cors-origin https://app.example"),
            ({"Origin": "https://vlm.example"}, "--allow-host vlm.example"),
        ):
            error = server.get(path, headers=headers).json()["error"]
            assert way in (error if path.startswith("/api") else error["hint"])


def test_the_page_s_files_are_there_for_all_and_readable_by_none(server: Running) -> None:
    """Browsers send an Origin with scripts, and behind a proxy the page shall be able to say what is wrong."""
    for path in ("/", "/page/app.js"):
        answer = server.get(path, headers={"Origin": "http://vlm.example"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert server.get(path, headers={"Host": "vlm.example"}).status_code == 403


def test_names_that_the_owner_adds(tmp_path: Path) -> None:
    names = ("--allow-host", "VLM.example:443", "--cors-origin", "HTTPS://App.Example/")
    with started(tmp_path, *names) as server:
        assert server.get("/v1/models", headers={"Host": "vlm.example"}).status_code == 200
        assert server.get("/v1/models", headers={"Origin": "https://app.example"}).status_code == 200
        assert server.get("/v1/models", headers={"Origin": "https://vlm.example"}).status_code == 200, "its own page"
        assert server.get("/v1/models", headers={"Host": "app.example"}).status_code == 403


def test_a_site_that_may_ask(tmp_path: Path) -> None:
    site = "https://app.example"
    with started(tmp_path, "--cors-origin", site, "--api-key", "open sesame") as server:
        import httpx

        asked = {"Origin": site, "Access-Control-Request-Method": "POST"}
        allowed = httpx.options(
            server.v1 + "/chat/completions",
            headers={**asked, "Access-Control-Request-Headers": "authorization,content-type"},
        )
        assert allowed.status_code == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == site
        answer = server.post(question(), headers={"Origin": site, **KEY})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, site)
        refused = server.post(question(), headers={"Origin": site})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, site)
        assert server.post(question(), headers={"Origin": "https://other.example", **KEY}).status_code == 403


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("locked"), "--host", "0.0.0.0", GGUFVLM_API_KEY="open sesame") as running:
        running.url = f"http://127.0.0.1:{urlsplit(running.url).port}"
        yield running


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/api/tags", "/api/version", "/v1/nothing", "//v1/models"])
def test_what_needs_the_key(locked: Running, path: str) -> None:
    wrong = ["", "Bearer", "Bearer open", "Bearer open sesame!", "Basic open sesame", "open sesame", "Bearer \xff"]
    for header in wrong:
        answer = locked.get(path, headers={"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401, header
    assert locked.get(path).headers["WWW-Authenticate"] == "Bearer"
    assert locked.get(path, headers=KEY).status_code in (200, 404)
    assert locked.get(path, headers={"Authorization": "bearer  open sesame"}).status_code in (200, 404)
    assert locked.get(path, headers={"X-Api-Key": "open sesame"}).status_code in (200, 404)
    assert locked.get(path, headers={"X-Api-Key": "open sesame", "Authorization": "Bearer x"}).status_code in (200, 404)
    assert locked.get(path, headers={"X-Api-Key": "sesame"}).status_code == 401


def test_what_needs_none(locked: Running) -> None:
    for path in ("/", "/health", "/openapi.json", "/docs"):
        assert locked.get(path).status_code == 200
    assert locked.get("/page/../v1/models").status_code in (401, 404)
    assert locked.get("/health", headers={"Host": "box.example"}).status_code == 200, "it has other names out there"


def test_the_key_is_not_in_the_log(locked: Running) -> None:
    locked.get("/v1/models", headers=KEY)
    locked.get("/v1/models?key=hidden")
    assert "sesame" not in locked.text()
    assert "hidden" not in locked.text()


def test_prompts_are_logged_only_if_asked_for(tmp_path: Path) -> None:
    for option, is_there in (([], False), (["--log-prompts"], True)):
        with started(tmp_path, *option) as server:
            server.post(question("Is there a\nsecret?"))
            wait_until(lambda log=server.log: "POST /v1/chat/completions 200" in log.read_text())
            assert ("secret" in server.text()) is is_there
            assert "iVBORw0KGgoAAAANSUhEUg" not in server.text(), "images are not for logs"
            lines = server.text().splitlines()
            assert all(len(line) < 300 for line in lines)


def test_a_path_cannot_forge_a_line_of_the_log(server: Running) -> None:
    server.get("/%0a12:00:00%20forged/" + "x" * 5000)
    assert not any(line.startswith("12:00:00 forged") for line in server.text().splitlines())
    assert max(map(len, server.text().splitlines())) < 300
