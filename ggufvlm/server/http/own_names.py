"""Names: which Host is this machine's, and which Origin a page or an app on it.

Nobody on the internet can have the names that are accepted here: an address is connected to as it is written, and the
others are in no public DNS. Only such names keep DNS rebinding out.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from ggufvlm.errors import UsageError

_ADDRESS = re.compile(r"([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<address>[^\s/?#@\\]*)", re.IGNORECASE)
# What container runtimes call the machine that they run on: host.docker.internal, host.containers.internal, ...
_CONTAINER_HOST = re.compile(r"(?:host|gateway)\.[a-z0-9-]+\.internal")
# Apps on this machine, as in the defaults of Ollama's OLLAMA_ORIGINS. Extensions of browsers are not among them.
_APPS = ("app", "file", "tauri", "vscode-webview", "vscode-file")
WEB = ("http", "https")
_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128")))
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        # RFC 1918, RFC 6598 (virtual private networks use it), link-local; RFC 4193, link-local
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)


def name_of(address: str) -> str | None:
    """The name or IP address in a Host header or behind the ``://`` of an origin; ``None`` if there is none.

    Args:
        address: with or without a port; an IPv6 address in brackets.

    Returns:
        In lower case, without port, brackets and the dot at the end.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    name = found[1].lower().removesuffix(".")
    if not name.startswith("["):
        return name
    try:
        return str(ipaddress.IPv6Address(name[1:-1]))
    except ValueError:
        return None


def is_own(name: str) -> bool:
    """Whether a name, as :func:`name_of` gives it, is this machine's or an address of a private network."""
    if _is_loopback(name) or _is_in(name, _PRIVATE) or _CONTAINER_HOST.fullmatch(name):
        return True
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    return name in (own, short, f"{short}.local")  # the last one is what mDNS calls it


def _is_loopback(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or _is_in(name, _LOOPBACK)


def _is_in(name: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def split_origin(origin: str) -> tuple[str, str]:
    """Scheme and address (host and port) of an Origin, in lower case; both empty for ``null`` and what is none."""
    found = _ORIGIN.fullmatch(origin)
    return (found["scheme"].lower(), found["address"].lower()) if found else ("", "")


def is_local_origin(origin: str) -> bool:
    """Whether an Origin is a page that this machine serves to itself, or an app on it."""
    scheme, address = split_origin(origin)
    if scheme in _APPS:
        return True
    name = name_of(address) if scheme in WEB else None
    return name is not None and _is_loopback(name)


def read_host(text: str) -> str:
    """A name that the server's owner adds; a port is left out, since a Host is accepted with any.

    Raises:
        UsageError: it is no name.
    """
    name = name_of(text.strip())
    if name is None:
        raise UsageError(f"--allow-host {text}: not the name of a machine", hint="--allow-host vlm.example")
    return name


def read_origin(text: str) -> str:
    """An origin that the server's owner adds, as browsers write it: in lower case and without a slash at the end.

    Raises:
        UsageError: it is none.
    """
    origin = text.strip().lower()
    origin = origin if origin.endswith("://") else origin.removesuffix("/")
    if origin in ("*", "null") or (_ORIGIN.fullmatch(origin) and "*" not in origin):
        return origin
    raise UsageError(f"--cors-origin {text}: not an origin", hint="--cors-origin https://app.example, or * for all")
