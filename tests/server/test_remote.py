"""Fetching for clients: public images from real servers on this machine, and nothing of this machine's networks."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.errors import ImageError
from ggufvlm.server.fetch import remote
from ggufvlm.server.fetch.remote import RemoteRules, fetch_image, resolve
from ggufvlm.server.fetch.remote_address import is_public, literal_address

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
PUBLIC = "93.184.216.34"


class Handler(BaseHTTPRequestHandler):
    """One path, one behaviour."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers))
        getattr(self, f"get_{self.path.strip('/').split('?')[0]}")()

    def answer(self, body: bytes, status: int = 200, kind: str = "image/png", **headers: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_image(self) -> None:
        self.answer(IMAGE, Content_Length=str(len(IMAGE)))

    def get_unnamed(self) -> None:
        self.answer(IMAGE, kind="application/octet-stream")

    def get_untyped(self) -> None:
        self.answer(IMAGE, kind="")

    def get_gzip(self) -> None:
        self.answer(gzip.compress(IMAGE), Content_Encoding="gzip")

    def get_bomb(self) -> None:
        self.answer(gzip.compress(bytes(3_000_000)), Content_Encoding="gzip")

    def get_damaged_gzip(self) -> None:
        self.answer(b"no gzip at all", Content_Encoding="gzip")

    def get_brotli(self) -> None:
        self.answer(b"\x0b\x02\x80hello\x03", Content_Encoding="br")

    def get_page(self) -> None:
        self.answer(b"<h1>root:x:0:0</h1>", kind="text/html; charset=utf-8")

    def get_missing(self) -> None:
        self.answer(b"root:x:0:0", status=404)

    def get_announced(self) -> None:
        self.answer(b"x", Content_Length="60000000")

    def get_endless(self) -> None:
        self.answer(b"")
        while not self.server.finished.is_set():
            self.wfile.write(bytes(65536))

    def get_short(self) -> None:
        self.answer(IMAGE[:-20], Content_Length=str(len(IMAGE)))

    def get_dribble(self) -> None:
        self.answer(b"", Content_Length="1000000")
        while not self.server.finished.wait(0.01):
            self.wfile.write(b"x")

    def get_loop(self) -> None:
        self.answer(b"", status=302, Location="/loop")

    def get_to(self) -> None:
        """Where the query says."""
        self.answer(b"", status=302, Location=self.path.partition("?")[2], Set_Cookie="secret=1")

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

    def url(self, path: str, host: str = "images.example") -> str:
        return f"http://{host}:{self.server_port}/{path}"


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.finished.set()
        running.shutdown()
        thread.join()


async def at_home(host: str, port: int) -> list[str]:
    """A resolver to which every name is this machine, by an address that the tests permit."""
    return ["127.0.0.1"]


def permits(address: str) -> bool:
    """As if 127.0.0.1 were a public address, and it alone of this machine's."""
    return address == "127.0.0.1" or is_public(address)


def fetched(url: str, *, resolver=at_home, permits=permits, **rules: float) -> bytes:
    return asyncio.run(
        fetch_image(url, RemoteRules(allowed=True, **{"timeout_s": 20, **rules}), resolver=resolver, permits=permits)
    )


def failure(url: str, **options) -> str:
    with pytest.raises(ImageError) as caught:
        fetched(url, **options)
    text = f"{caught.value} {caught.value.hint}"
    assert "\n" not in text
    assert "data: URI" in text
    return text


@pytest.mark.parametrize("path", ["image", "unnamed", "untyped", "gzip", "to?/image", "image?size=large#top"])
def test_it_fetches_images(server, path):
    assert fetched(server.url(path)) == IMAGE


def test_nothing_is_fetched_unless_allowed(server):
    with pytest.raises(ImageError, match="does not fetch URLs"):
        asyncio.run(fetch_image(server.url("image"), RemoteRules(), resolver=at_home, permits=permits))
    assert server.seen == []


def test_the_server_sees_the_name_and_nothing_of_ours(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert fetched(server.url("to?/image")) == IMAGE
    assert [headers["Host"] for _, headers in server.seen] == [f"images.example:{server.server_port}"] * 2
    assert all(headers["Cookie"] is None and headers["Authorization"] is None for _, headers in server.seen)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("page", "it is text/html, not an image"),
        ("missing", "answered 404"),
        ("announced", "larger than the limit of 20 MB"),
        ("short", "the connection broke"),
        ("damaged_gzip", "damaged data"),
        ("brotli", "encoding"),
        ("loop", "more than 3 redirects"),
        ("to?file:///etc/passwd", "only http and https"),
        ("to?ftp://127.0.0.1/a.png", "only http and https"),
        ("to?http://me:secret@images.example/image", "user name or password"),
        ("to?http://[/", "leads to one"),
        ("to?http://a:b:c/", "broke the rules of HTTP"),
    ],
)
def test_failures(server, path, says):
    text = failure(server.url(path))
    assert says in text
    assert "root:" not in text


def test_limits_hold_while_it_streams(server):
    assert "larger than the limit of 0.5 MB" in failure(server.url("endless"), max_bytes=500_000)
    assert "larger than the limit of 0.5 MB" in failure(server.url("bomb"), max_bytes=500_000)
    assert "took longer than 0.3 s" in failure(server.url("dribble"), timeout_s=0.3)


def test_a_resolver_that_never_answers(server):
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    assert "took longer than 0.1 s" in failure(server.url("image"), resolver=silent, timeout_s=0.1)


INSIDE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c:0:0:80ff:fffe",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3ffe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "fe80::1%1",
    "2606:4700::1111%1",
]
OUTSIDE = ["8.8.8.8", PUBLIC, "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_that_are_public(address):
    assert is_public(address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_no_address_is_public_that_python_knows_to_be_closed(address):
    python_says = address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if is_public(str(address)) and address not in ipaddress.ip_network("64:ff9b::/96", strict=False):
        assert python_says
    if address.version == 4 and python_says and not is_public(str(address)):
        # What this list closes beyond Python's: relays of 6to4 and of multicast, and AS112's sink for private names.
        beyond = ("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24")
        assert any(address in ipaddress.ip_network(block) for block in beyond)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_opens_nothing(address):
    if not is_public(str(address)):
        for prefix in ("::ffff:", "::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:"):
            assert not is_public(f"{prefix}{address}")
        high, low = divmod(int(address), 65536)
        assert not is_public(f"2002:{high:x}:{low:x}::1")


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside(server, address):
    async def resolver(host: str, port: int) -> list[str]:
        return [address]

    text = failure(server.url("image"), resolver=resolver, permits=is_public)
    assert "no public address" in text
    assert address not in text.replace("http://images.example", "")
    assert server.seen == []


def test_one_bad_address_among_good_ones_is_enough(server):
    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "10.0.0.1"]

    assert "no public address" in failure(server.url("image"), resolver=resolver)
    assert server.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.1",
        "127.0.1",
        "0",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7F.1",
        "017700000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "127.0.0.1.0x",
        "010.8.8.8",
        "134744072",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "[::1%25lo]",
    ],
)
def test_every_spelling_of_this_machine(server, host):
    """With the real resolver and the real list: nothing connects."""
    failure(server.url("image", host), resolver=resolve, permits=is_public)
    failure(server.url(f"to?http://{host}:{server.server_port}/image"), permits=_only_the_first_hop(server))
    assert [path for path, _ in server.seen if path == "/image"] == []


def _only_the_first_hop(server: Server):
    """Permits this machine as long as nothing has come in."""
    return lambda address: is_public(address) or (address == "127.0.0.1" and not server.seen)


def test_a_redirect_is_checked_anew(server):
    """The same name, resolved again for the second hop, now leads inside: what a rebinding name server does."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    assert "no public address" in failure(server.url("to?/image"), resolver=rebinding)
    assert len(server.seen) == 1


def test_the_connection_goes_to_the_address_that_was_checked(server):
    """A name that answers differently at every question is asked once a hop, so there is nothing to rebind."""
    asked = []

    async def changing(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    # A name that no resolver but the test's knows: a second look-up could not have found the server.
    assert fetched(server.url("image", "rebinding.invalid"), resolver=changing) == IMAGE
    assert asked == ["rebinding.invalid"]


def test_the_next_address_is_tried(server):
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]  # nobody listens at the first

    assert fetched(server.url("image"), resolver=two, permits=lambda address: True) == IMAGE


def test_unknown_names_and_names_that_lead_inside_look_the_same(server):
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def inside(host: str, port: int) -> list[str]:
        return ["10.1.2.3"]

    url = server.url("image")
    assert failure(url, resolver=unknown) == failure(url, resolver=inside)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://images.example/a.png",
        "gopher://images.example/a.png",
        "//images.example/a.png",
        "/etc/passwd",
        "http:/image",
        "http:///image",
        "http://",
        "http://[::1/a.png",
        "http://a:port/b.png",
        "http://\x00/",
        "http://images.example\r\nX-Bad: 1/",
        "http://" + "a" * 70 + ".example/a.png",
        "http://me:secret@images.example/a.png",
        "http://me@images.example/a.png",
    ],
)
def test_urls_that_are_not_fetched(url):
    assert "secret" not in failure(url, resolver=resolve)


@given(st.text(max_size=40))
def test_no_text_gets_anything_but_an_image_error(text):
    async def nowhere(host: str, port: int) -> list[str]:
        return []

    with pytest.raises(ImageError):
        asyncio.run(fetch_image(f"http://{text}", RemoteRules(allowed=True), resolver=nowhere))


@pytest.mark.parametrize("host", ["images.example", "a.b.c", "1password.com", "0x.example", "x0x7f", "localhost"])
def test_names_are_names(host):
    assert literal_address(host) is None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate of images.example, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    file = tmp_path / "images.pem"
    made = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {file} -out {file}.crt"
    )
    names = ["-subj", "/CN=images.example", "-addext", "subjectAltName=DNS:images.example"]
    subprocess.run([*made.split(), *names], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@pytest.fixture
def secure_server(server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch):
    """The same server behind TLS. Its certificate is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    remote._tls.cache_clear()
    yield server
    remote._tls.cache_clear()


def test_certificates_are_checked_against_the_name_of_the_url(secure_server):
    url = secure_server.url("image").replace("http:", "https:")
    assert fetched(url) == IMAGE
    assert secure_server.seen[0][1]["Host"] == f"images.example:{secure_server.server_port}"
    assert "no connection to its server" in failure(url.replace("images.example", "others.example"))
    assert len(secure_server.seen) == 1


def test_certificates_that_nobody_signed(secure_server, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "no connection to its server" in failure(secure_server.url("image").replace("http:", "https:"))
    assert secure_server.seen == []
