"""Where the server listens, and whether that is this machine alone."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from ggufvlm.errors import GGUFVLMError, UsageError


@dataclass(frozen=True, slots=True)
class Address:
    """A socket that is bound and does not listen yet.

    Attributes:
        is_loopback: whether only this machine can reach it.
        url: for people.
    """

    socket: socket.socket
    is_loopback: bool
    url: str


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine alone.

    Raises:
        UsageError: it is no name of this machine.
    """
    return all(ipaddress.ip_address(address).is_loopback for _, address in _resolve(host, 0))


def bind(host: str, port: int) -> Address:
    """Take an address; port 0 is a free one.

    Raises:
        UsageError: the host is not one of this machine.
        GGUFVLMError: the port is in use, or not allowed.
    """
    family, address = _resolve(host, port)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
    except OSError as error:
        found.close()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise GGUFVLMError(f"{where}: {error.strerror or error}", hint="--port 0 takes a free one") from error
    found.set_inheritable(False)
    shown = f"[{address}]" if family == socket.AF_INET6 else address
    return Address(found, ipaddress.ip_address(address).is_loopback, f"http://{shown}:{found.getsockname()[1]}")


def _resolve(host: str, port: int) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"--host {host}: not an address of this machine", hint="127.0.0.1, or 0.0.0.0 for all"
        ) from error
    return [(family, str(address[0]).partition("%")[0]) for family, _, _, _, address in found]
