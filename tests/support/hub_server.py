"""A local server that speaks the Hub's protocol, for the real huggingface_hub client, with faults on demand.

Two ports: the Hub, which knows repositories and redirects to files, and a content network, which has the bytes. As
with the real ones, a token that reaches the second would be a leak.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

DEMO = Path(__file__).parents[2] / "ggufvlm" / "demo"
MODEL = (DEMO / "tiny-qwen2vl-Q8_0.gguf").read_bytes()
PROJECTOR = (DEMO / "mmproj-tiny-qwen2vl-F16.gguf").read_bytes()
COMMIT = "a" * 40


def padded(content: bytes, size: int) -> bytes:
    """A GGUF file made larger: what follows the last tensor is never looked at."""
    block = hashlib.sha512(content[:64]).digest() * 1024
    return (content + block * ((size - len(content)) // len(block) + 1))[:size]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """A repository: commit -> file name -> content."""

    commits: dict[str, dict[str, bytes]]
    gated: bool = False
    lfs: bool = True
    license: str | None = "apache-2.0"

    @property
    def head(self) -> str:
        return list(self.commits)[-1]


@dataclass
class Asked:
    """One request that came."""

    server: str
    method: str
    path: str
    range: str | None
    token: str | None
    n_sent: int = 0


@dataclass
class HubServer:
    """The repositories, the faults, and a log of requests.

    Attributes:
        fail: status of the next requests to the Hub itself, one by one.
        fail_bytes: the same for the content network.
        cut: share of a file after which the connection is cut, for the next answers of the content network that
            hold more than a header's worth of bytes.
        hold: share after which such an answer waits for `release`.
        corrupt: how many such answers have a wrong byte.
        elsewhere: redirect of everything, as a network's login page does.
        says: the whole of what the Hub says about a repository.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    fail: list[int] = field(default_factory=list)
    fail_bytes: list[int] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    hold: list[float] = field(default_factory=list)
    corrupt: int = 0
    ranges: bool = True
    login_page: bool = False
    says: bytes | None = None
    tokens: set[str] = field(default_factory=set)
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    cdn: str = ""

    def add(self, name: str, files: dict[str, bytes], commit: str = COMMIT, **more: object) -> Repo:
        self.repos[name] = Repo({commit: files}, **more)  # type: ignore[arg-type]
        return self.repos[name]

    def content(self, checksum: str) -> bytes:
        files = (
            content for repo in self.repos.values() for commit in repo.commits.values() for content in commit.values()
        )
        return next(content for content in files if sha256(content) == checksum)

    @property
    def n_sent(self) -> int:
        """Bytes of files that went over the wire."""
        return sum(asked.n_sent for asked in self.log)

    def forget(self) -> None:
        self.log.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _note(self, server: str) -> Asked:
        token = self.headers.get("Authorization")
        if self.path == "/api/agent-harnesses":  # the client asks for its statistics, in some environments
            return Asked(server, self.command, self.path, None, token)
        asked = Asked(server, self.command, unquote(self.path), self.headers.get("Range"), token)
        self.hub.log.append(asked)
        return asked

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class HubHandler(_Handler):
    """Repository information, and redirects to files."""

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._route()

    def _route(self) -> None:
        self._note("hub")
        path = unquote(urlsplit(self.path).path)
        if self.hub.login_page:
            return self._answer(200, b"<html>Welcome to our hotel</html>", Content_Type="text/html")
        if self.hub.fail:
            return self._answer(self.hub.fail.pop(0), b"{}", Retry_After="0")
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        if found is None:
            return self._answer(404)
        name = found[1]
        if name in self.hub.moved:
            return self._answer(307, Location=self.path.replace(name, self.hub.moved[name], 1))
        token = self.headers.get("Authorization")
        if token and token not in {f"Bearer {known}" for known in self.hub.tokens}:
            return self._answer(401, X_Error_Message="Invalid credentials in Authorization header")
        if name not in self.hub.repos:
            return self._answer(401 if token is None else 404, X_Error_Code="RepoNotFound")
        repo = self.hub.repos[name]
        revision = (api[3] if api else file[2]) or "main"  # type: ignore[index]
        commit = repo.head if revision == "main" else revision
        if commit not in repo.commits:
            return self._answer(404, X_Error_Code="RevisionNotFound")
        return self._information(name, repo, commit, api[2]) if api else self._resolve(repo, commit, file[3])  # type: ignore[index]

    def _information(self, name: str, repo: Repo, commit: str, what: str | None) -> None:
        if self.hub.says is not None:
            return self._answer(200, self.hub.says, Content_Type="application/json")
        entries = []
        for path, content in repo.commits[commit].items():
            lfs = {"sha256": sha256(content), "oid": sha256(content), "size": len(content), "pointerSize": 134}
            entry: dict[str, object] = {"rfilename": path, "path": path, "type": "file", "oid": "0" * 40}
            if repo.lfs:
                entry |= {"size": len(content), "lfs": lfs}
            entries.append(entry)
        if what == "paths-info":
            wanted = parse_qs(self.body.decode())["paths"]
            answer: object = [entry for entry in entries if entry["path"] in wanted]
        elif what == "tree":
            answer = entries
        else:
            card = {"license": repo.license} if repo.license else {}
            answer = {"id": name, "sha": commit, "siblings": entries, "cardData": card, "gated": repo.gated and "auto"}
        return self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def _resolve(self, repo: Repo, commit: str, path: str) -> None:
        if repo.gated:
            status = 403 if self.headers.get("Authorization") else 401
            return self._answer(status, X_Error_Code="GatedRepo", X_Repo_Commit=commit)
        content = repo.commits[commit].get(path)
        if content is None:
            return self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        checksum = sha256(content)
        return self._answer(
            302,
            Location=f"{self.hub.cdn}/{checksum}",
            ETag=f'"{checksum[:32]}"',
            X_Linked_ETag=f'"{checksum}"',
            X_Linked_Size=str(len(content)),
            X_Repo_Commit=commit,
        )


class ContentHandler(_Handler):
    """Bytes, whole or in part."""

    def do_GET(self) -> None:
        asked = self._note("cdn")
        if self.hub.fail_bytes:
            return self._answer(self.hub.fail_bytes.pop(0), Retry_After="0")
        content = self.hub.content(self.path[1:])
        start, end = 0, len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range or "")
        if found and self.hub.ranges:
            start, end = int(found[1]), min(int(found[2] or end - 1) + 1, end)
            if start >= len(content):
                return self._answer(416, Content_Range=f"bytes */{len(content)}")
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{self.path[1:33]}"')
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(content, start, end, asked)
        return None

    def _send(self, content: bytes, start: int, end: int, asked: Asked) -> None:
        large = end - start > 1 << 17
        part = content[start:end]
        if large and self.hub.corrupt > 0:
            self.hub.corrupt -= 1
            part = part[:-1] + bytes([part[-1] ^ 1])
        stop = len(part)
        cut, hold = large and bool(self.hub.cut), large and bool(self.hub.hold)
        if cut or hold:
            share = (self.hub.cut if cut else self.hub.hold).pop(0)
            stop = min(stop, max(0, int(len(content) * share) - start))
        self._write(part[:stop], asked)
        if hold:
            self.hub.held.set()
            self.hub.release.wait(30)
            self._write(part[stop:], asked)
        elif cut:
            self.close_connection = True

    def _write(self, part: bytes, asked: Asked) -> None:
        for at in range(0, len(part), 1 << 18):
            self.wfile.write(part[at : at + (1 << 18)])
            asked.n_sent += len(part[at : at + (1 << 18)])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # an answer may be held

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error here."""


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub of its own for a test, with the client's settings, in this process and in children, pointing at it."""
    hub = HubServer()
    servers = [
        _Server(("127.0.0.1", 0), type(kind.__name__, (kind,), {"hub": hub})) for kind in (HubHandler, ContentHandler)
    ]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    _point_client(monkeypatch, hub.url, tmp_path / "hf")
    yield hub
    hub.release.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def _point_client(monkeypatch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """The client reads its environment once, when it is imported: later it takes its constants."""
    for name in [name for name in os.environ if name.startswith("HF_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "5")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 5)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(home / "agents.json"), raising=False)
    from ggufvlm.models.hub import client as hub

    monkeypatch.setattr(hub, "DELAYS", (0.01,) * 5)
    from ggufvlm.models.hub import transfer as hub_transfer

    monkeypatch.setattr(hub_transfer, "DELAYS", (0.01,) * 5)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own, which has no terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "ggufvlm", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
