"""Names and origins of all kinds against the guard, without a server."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import UsageError
from ggufvlm.server.http.host_guard import HostGuard
from ggufvlm.server.http.own_names import read_host, read_origin

_OWN = "127.0.0.1:8080"


def asked(method: str = "POST", named: Sequence[str] = (), **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an answer. Underscores in the names of headers are hyphens."""
    heard: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Any) -> None:
        heard.append(message)

    async def never() -> Any:
        raise AssertionError

    sent = {"host": _OWN, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    scope = {"type": "http", "method": method, "path": "/v1/models", "headers": raw}
    with pytest.raises(StopIteration):  # nothing in it waits: no event loop is needed, and a thousand take a second
        HostGuard(application, hosts=named)(scope, never, send).send(None)
    answered = {name.decode(): value.decode("latin-1") for name, value in heard[0]["headers"]}
    return heard[0]["status"], answered, json.loads(heard[1]["body"] or b"{}")


def status(**headers: str) -> int:
    return asked(**headers)[0]


# -- what is generated

_ports = st.sampled_from(["", ":80", ":3000", ":65535"])
_dots = st.sampled_from(["", "."])
_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
_zones = st.sampled_from(["com", "example", "co.uk", "xn--p1ai", "nip.io", "localhost.com", "internal.net", "local"])
_fronts = st.sampled_from(["", "localhost.", "127.0.0.1.", "host.docker.internal.", "192-168-0-1.", "0."])


@st.composite
def foreign_names(draw: st.DrawFn) -> str:
    """Names that somebody else can own, also such as begin like one of ours."""
    name = draw(_fronts) + draw(_labels) + "." + draw(_zones)
    return draw(st.sampled_from([name, name.upper(), name.title()]))


_private_4 = st.sampled_from(["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"])
_private_6 = st.sampled_from(["fc00::/7", "fe80::/10", "::1/128", "::/128", "::ffff:10.0.0.0/104"])
_public_4 = st.sampled_from(["8.0.0.0/8", "93.184.0.0/16", "172.32.0.0/11", "192.169.0.0/16", "128.0.0.0/8"])
_public_6 = st.sampled_from(["2000::/3", "::ffff:8.0.0.0/104", "64:ff9b::/96"])


@st.composite
def addresses(draw: st.DrawFn, networks: st.SearchStrategy[str]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    network = ipaddress.ip_network(draw(networks))
    return network[draw(st.integers(0, network.num_addresses - 1))]


def written(address: ipaddress.IPv4Address | ipaddress.IPv6Address, long: bool = False) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return f"[{address.exploded.upper() if long else address}]"


# -- Host


@given(foreign_names(), _dots, _ports)
@settings(deadline=None)
def test_foreign_names_are_refused(name: str, dot: str, port: str) -> None:
    code, headers, body = asked(host=name + dot + port)
    assert (code, body["error"]["code"]) == (403, "foreign_host")
    assert body["error"]["hint"].endswith(f"--allow-host {name.lower()}")
    assert "access-control-allow-origin" not in headers


@given(foreign_names(), _ports, st.sampled_from(["http", "https"]))
@settings(deadline=None)
def test_a_page_that_was_rebound_is_refused(name: str, port: str, scheme: str) -> None:
    """Its Host and Origin agree, and the browser calls that the same origin."""
    more = {"sec_fetch_site": "same-origin", "x_forwarded_host": "localhost"}
    assert status(host=name + port, origin=f"{scheme}://{name}{port}", **more) == 403


@given(addresses(_private_4 | _private_6), _ports, st.booleans())
@settings(deadline=None)
def test_private_addresses_are_taken(address: Any, port: str, long: bool) -> None:
    assert status(host=written(address, long) + port) == 200


@given(addresses(_public_4 | _public_6), _ports, st.booleans())
@settings(deadline=None)
def test_public_addresses_are_not(address: Any, port: str, long: bool) -> None:
    assert status(host=written(address, long) + port) == 403


@given(addresses(_private_4), _ports)
@settings(deadline=None)
def test_addresses_in_other_forms_are_names_of_nobody(address: Any, port: str) -> None:
    number, parts = int(address), str(address).split(".")
    forms = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{parts[0]}.{number % 2**24}",
        f"[{address}]",
        f"::ffff:{address}",
    ]
    forms += [".".join(f"{int(part):#x}" for part in parts), ".".join(f"0{int(part):o}" for part in parts) + "1"]
    for form in forms:
        assert status(host=form + port) == 403, form


@given(
    foreign_names(),
    st.sampled_from(["{}@localhost", "localhost@{}", "localhost:80@{}", "localhost#{}", "{}\\@localhost"]),
)
@settings(deadline=None)
def test_hosts_with_more_in_them_are_refused(name: str, form: str) -> None:
    assert status(host=form.format(name)) == 403
    assert status(origin="http://" + form.format(name)) == 403


@pytest.mark.parametrize("dot", ["", "."])
@pytest.mark.parametrize("port", ["", ":8080"])
def test_this_machine_s_own_names(dot: str, port: str) -> None:
    names = [
        "localhost",
        "a.b.localhost",
        "host.docker.internal",
        "gateway.docker.internal",
        "host.containers.internal",
    ]
    own = socket.gethostname()
    for name in (*names, own, own.partition(".")[0] + ".local"):
        assert status(host=name + dot + port) == status(host=name.upper() + dot + port) == 200, name
    for name in ("evil.internal", "host.a.b.internal", ".localhost", "localhost..", "localhost:", "localhost:8080x"):
        assert status(host=name) == 403, name


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=30))
@settings(deadline=None)
def test_any_text_is_let_in_or_refused(text: str) -> None:
    assert status(host=text) in (200, 403)
    assert status(origin=text) in (200, 403)


# -- Origin


@given(foreign_names(), _dots, _ports, st.sampled_from(["http", "https", "HTTP", "ftp", "chrome-extension"]))
@settings(deadline=None)
def test_foreign_pages_are_refused(name: str, dot: str, port: str, scheme: str) -> None:
    origin = f"{scheme}://{name}{dot}{port}"
    for more in ({}, {"sec_fetch_site": "cross-site"}, {"x_forwarded_host": "localhost"}, {"host": "x.localhost"}):
        for method in ("GET", "POST", "OPTIONS"):
            code, headers, body = asked(method=method, origin=origin, access_control_request_method="POST", **more)
            assert (code, body["error"]["code"]) == (403, "foreign_origin")
            assert "access-control-allow-origin" not in headers


@given(addresses(_private_4 | _private_6 | _public_4 | _public_6), _ports)
@settings(deadline=None)
def test_of_addresses_only_loopback_s_pages_are_taken(address: Any, port: str) -> None:
    mapped = getattr(address, "ipv4_mapped", None) or address
    is_local = mapped.is_loopback or mapped.is_unspecified
    assert status(origin=f"http://{written(address)}{port}") == (200 if is_local else 403)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://App.localhost", "app://obsidian.md", "tauri://x"])
def test_pages_of_this_machine_may_ask_and_read(origin: str) -> None:
    code, headers, _ = asked(origin=origin)
    assert (code, headers["access-control-allow-origin"], headers["vary"]) == (200, origin, "Origin")
    more = {"access_control_request_method": "POST", "access_control_request_headers": "authorization, content-type"}
    code, headers, _ = asked(method="OPTIONS", origin=origin, access_control_request_private_network="true", **more)
    assert (code, headers["access-control-allow-origin"]) == (200, origin)
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    assert headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-private-network" not in asked(method="OPTIONS", origin=origin, **more)[1]


def test_our_page_behind_a_proxy_that_rewrites_host() -> None:
    page = "https://vlm.example"
    assert status(origin=page) == 403
    assert status(origin=page, sec_fetch_site="same-origin") == 200
    assert status(origin=page, x_forwarded_host="vlm.example") == 403, "any page could write it to the proxy"
    assert status(origin="http://192.168.1.5", x_forwarded_host="192.168.1.5") == 200
    assert status(origin="http://192.168.1.6", x_forwarded_host="192.168.1.5") == 403
    for name in ("192.168.1.5", "x.localhost", "[fd00::1]"):
        assert status(origin=f"http://{name}:8000", host=name) == 200, "a proxy that hands on Host without its port"
        assert status(origin="http://192.168.1.6:8000", host=name) == 403
    assert status(origin="http://192.168.1.5:8000", host="192.168.1.5:8080") == 403, "a page of something else there"
    for host in (_OWN, "vlm.example"):
        assert asked(named=["vlm.example"], origin=page, host=host)[0] == 200


# -- what the owner adds


def test_options_are_read_as_browsers_write_names() -> None:
    assert read_host(" VLM.Example.:8443 ") == "vlm.example"
    assert read_host("[2001:DB8:0::1]:80") == "2001:db8::1"
    assert read_origin("HTTPS://App.Example:8443/") == "https://app.example:8443"
    assert [read_origin(text) for text in ("*", "null", "file://")] == ["*", "null", "file://"]
    for text in ("", "https://vlm.example", "a b", "*", "vlm.example/page"):
        with pytest.raises(UsageError, match="--allow-host"):
            read_host(text)
    for text in ("", "app.example", "https://app.example/page", "https://*.example", "https://a@b"):
        with pytest.raises(UsageError, match="--cors-origin"):
            read_origin(text)
