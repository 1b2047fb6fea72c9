"""Downloads from a real server on this machine."""

from __future__ import annotations

import gzip
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ggufvlm import media
from ggufvlm.errors import ImageError
from ggufvlm.media.sources.fetch import FetchLimits, fetch
from tests.support.images import encode, halves

IMAGE = encode(halves(), "PNG")


class Handler(BaseHTTPRequestHandler):
    """One path, one behaviour."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers)
        getattr(self, f"get_{self.path.strip('/').split('?')[0]}")()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_image(self) -> None:
        self.answer(IMAGE, Content_Length=str(len(IMAGE)), Content_Type="image/png")

    def get_unannounced(self) -> None:
        self.answer(IMAGE)

    def get_gzip(self) -> None:
        self.answer(gzip.compress(IMAGE), Content_Encoding="gzip")

    def get_damaged_gzip(self) -> None:
        self.answer(b"no gzip at all", Content_Encoding="gzip")

    def get_bomb(self) -> None:
        self.answer(gzip.compress(bytes(300_000)), Content_Encoding="gzip")

    def get_error(self) -> None:
        self.answer(b"<html>gone</html>", status=404)

    def get_forbidden(self) -> None:
        self.answer(b"", status=403)

    def get_page(self) -> None:
        self.answer(b"<!doctype html><html>see here</html>", Content_Type="text/html")

    def get_redirect(self) -> None:
        self.answer(b"", status=302, Location="/image")

    def get_loop(self) -> None:
        self.answer(b"", status=302, Location="/loop")

    def get_to_file(self) -> None:
        self.answer(b"", status=302, Location="file:///etc/passwd")

    def get_to_ftp(self) -> None:
        self.answer(b"", status=302, Location="ftp://127.0.0.1/a.png")

    def get_to_nonsense(self) -> None:
        self.answer(b"", status=302, Location="http://[/")

    def get_short(self) -> None:
        self.answer(IMAGE[:-20], Content_Length=str(len(IMAGE)))

    def get_silent(self) -> None:
        self.answer(IMAGE[:20], Content_Length=str(len(IMAGE)))
        self.server.finished.wait()

    def get_dribble(self) -> None:
        self.answer(b"", Content_Length="1000000")
        while not self.server.finished.wait(0.01):
            self.wfile.write(b"x")

    def get_announced_large(self) -> None:
        self.answer(b"x", Content_Length="60000000")

    def get_large(self) -> None:
        self.answer(bytes(5000))

    def get_garbage(self) -> None:
        self.wfile.write(b"this is not HTTP\r\n\r\n")

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list = []
        self.finished = threading.Event()

    def handle_error(self, *args: object) -> None:
        """Clients that hang up are what these tests are about."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.finished.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("path", ["image", "unannounced", "gzip", "redirect", "image?size=large"])
def test_fetch(server, path):
    assert fetch(server.url(path)) == IMAGE


def test_load_knows_urls(server):
    image = media.load(server.url("image"))
    assert (image.width, image.source) == (40, server.url("image"))


def test_it_says_who_it_is(server):
    fetch(server.url("image"))
    assert server.seen[-1]["User-Agent"].startswith("ggufvlm/")


def failure(url: str, **limits: float) -> ImageError:
    with pytest.raises(ImageError) as caught:
        fetch(url, limits=FetchLimits(**limits))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("error", "the server answered 404 Not Found"),
        ("forbidden", "the server answered 403 Forbidden"),
        ("loop", "more than 5 redirects"),
        ("to_file", "leads to file:, only http and https are followed"),
        ("to_ftp", "leads to ftp:, only http and https are followed"),
        ("to_nonsense", ""),
        ("short", "the connection broke before the image was complete"),
        ("announced_large", "larger than the limit of 50 MB"),
        ("garbage", ""),
        ("damaged_gzip", "the download failed"),
    ],
)
def test_failures(server, path, says):
    url = server.url(path)
    assert str(failure(url)).startswith(f"{url}: {says}")


def test_too_large_without_an_announcement(server):
    assert "larger than the limit of 0.004 MB" in str(failure(server.url("large"), max_bytes=4000))
    assert len(fetch(server.url("large"), limits=FetchLimits(max_bytes=5000))) == 5000


def test_size_counts_after_decompression(server):
    assert "larger than the limit of 0.2 MB" in str(failure(server.url("bomb"), max_bytes=200_000))


def test_silence(server):
    assert "the server was silent for 0.1 s" in str(failure(server.url("silent"), read_s=0.1))


def test_total_time(server):
    assert "took longer than 0.1 s" in str(failure(server.url("dribble"), total_s=0.1))


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert "no connection to the server" in str(failure(f"http://127.0.0.1:{port}/a.png"))


def test_unknown_host():
    assert "no connection to the server" in str(failure("http://no-such-host.invalid/a.png"))


def test_no_tls(server):
    error = failure(server.url("image").replace("http:", "https:"))
    assert "no secure connection (TLS)" in str(error)


@pytest.mark.parametrize(
    "url", ["http://", "http:///a.png", "http://[::1/a.png", "http://a:port/b.png", "http://\x00/"]
)
def test_no_url(url):
    failure(url)


def test_other_schemes():
    assert "only http and https" in str(failure("ftp://127.0.0.1/a.png"))


def test_passwords_stay_out_of_messages(server):
    error = failure(server.url("error").replace("http://", "http://me:secret@"))
    assert "secret" not in str(error)
    assert str(error).startswith(server.url("error"))


def test_web_pages_are_named(server):
    with pytest.raises(ImageError, match=r"/page: a web page \(HTML\), not an image"):
        media.load(server.url("page"))


def test_proxies_of_the_environment_are_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    # A proxy is asked for the whole URL, which this handler has no name for: it hangs up.
    assert "the connection broke" in str(failure("http://example.invalid/a.png"))
    assert server.seen[-1]["Host"] == "example.invalid"


def test_useless_proxy_settings(monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:1")
    failure("http://example.invalid/a.png")
