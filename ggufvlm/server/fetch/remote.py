"""http(s) URL in a request -> bytes, for a server that must not become a way into its own network.

Every host is resolved here, every one of its addresses is checked, and the connection goes to a checked address: a
name that answers otherwise the next time changes nothing. A redirect begins again. What went wrong is told without
addresses, and a name that leads inside looks the same as one that does not exist.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.sources.labels import label, url_label
from ggufvlm.server.fetch.remote_address import is_public, literal_address

if TYPE_CHECKING:
    import httpx

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port -> all its addresses."""

_SEND_IT = "send the image itself, as a data: URI"
_MAX_TRIES = 4  # addresses of one host
_RESOLVERS = 4
_REDIRECTS = (301, 302, 303, 307, 308)
# What servers call an image when they do not know better.
_UNNAMED_TYPES = ("", "application/octet-stream", "binary/octet-stream", "application/binary")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteRules:
    """What the server may fetch for its clients.

    Attributes:
        allowed: whether it fetches anything at all.
        max_bytes: largest image, after decompression, in bytes.
        timeout_s: seconds for everything, redirects included.
        max_redirects: how many are followed.
    """

    allowed: bool = False
    max_bytes: int = 20_000_000
    timeout_s: float = 15.0
    max_redirects: int = 3


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host; none if it has no name.

    Raises:
        OSError: the name is not known, or no name server answers.
        UnicodeError: the name cannot be one.
    """
    import socket

    def look_up() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    return await asyncio.get_running_loop().run_in_executor(_resolvers(), look_up)


@lru_cache(maxsize=1)
def _resolvers() -> ThreadPoolExecutor:
    # Threads of their own: names whose servers are silent hold them for long, and must not hold what else has threads.
    return ThreadPoolExecutor(_RESOLVERS, "ggufvlm-names")


async def fetch_image(
    url: str,
    rules: RemoteRules,
    *,
    resolver: Resolver = resolve,
    permits: Callable[[str], bool] = is_public,
) -> bytes:
    """Download an image for a client. Proxies, cookies and passwords are neither used nor sent.

    Args:
        url: as the client gave it.
        rules: what may be fetched.
        resolver: gives the addresses of a host.
        permits: whether an address may be connected to.

    Raises:
        ImageError: not allowed, not http(s), not public, also after a redirect; unreachable, too slow, too large, not
            an image. The message names the URL of the client and nothing else.
    """
    source = url_label(url)
    if not rules.allowed:
        raise ImageError(f"{source}: this server does not fetch URLs", hint=_SEND_IT)
    fetching = _Fetch(source, rules, resolver, permits)
    try:
        return await asyncio.wait_for(fetching.follow(url), rules.timeout_s)
    except (asyncio.TimeoutError, TimeoutError):
        raise ImageError(f"{source}: took longer than {rules.timeout_s:g} s", hint=_SEND_IT) from None


class _Fetch:
    """One image: hop after hop."""

    def __init__(self, source: str, rules: RemoteRules, resolver: Resolver, permits: Callable[[str], bool]) -> None:
        self._source = source
        self._rules = rules
        self._resolver = resolver
        self._permits = permits

    async def follow(self, url: str) -> bytes:
        here = self._parsed(url)
        for _ in range(self._rules.max_redirects + 1):
            async with self._response(here) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._image(response)
                here = self._parsed(response.headers.get("Location", ""), here)
        raise self._failure(f"more than {self._rules.max_redirects} redirects")

    def _failure(self, what: str) -> ImageError:
        return ImageError(f"{self._source}: {what}", hint=_SEND_IT)

    def _parsed(self, url: str, base: httpx.URL | None = None) -> httpx.URL:
        import httpx

        try:
            parsed = base.join(url) if base is not None else httpx.URL(url)
            complete = parsed.host != ""
        except (httpx.InvalidURL, ValueError, TypeError):
            raise self._failure("not a valid URL, or it leads to one") from None
        if parsed.scheme not in ("http", "https"):
            raise self._failure("only http and https URLs are fetched")
        if not complete:
            raise self._failure("not a valid URL, or it leads to one")
        if parsed.userinfo:
            raise self._failure("URLs with a user name or password are not fetched")
        return parsed

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """The addresses of a host that may be connected to, all checked."""
        host = url.raw_host.decode("ascii", "replace").strip("[]")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            literal = literal_address(host)
            found = [literal] if literal is not None else await self._resolver(host, port)
        except (OSError, ValueError):  # ValueError: UnicodeError too
            found = []
        # One address of the host's own network among public ones is how a name is rebound.
        if not found or not all(self._permits(address) for address in found):
            raise self._failure("the host has no public address, or the URL leads to one that has none")
        return found[:_MAX_TRIES]

    @asynccontextmanager
    async def _response(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """The answer to one request, from the first of the host's addresses that takes the connection."""
        import httpx

        addresses = await self._addresses(url)
        # A client for each hop: it has no cookies of the last one.
        async with httpx.AsyncClient(
            verify=_tls(), trust_env=False, follow_redirects=False, timeout=self._rules.timeout_s
        ) as client:
            with _explained(self._failure):
                response = await self._sent(client, url, addresses)
            try:
                yield response
            finally:
                await response.aclose()

    async def _sent(self, client: httpx.AsyncClient, url: httpx.URL, addresses: list[str]) -> httpx.Response:
        import httpx

        for address in addresses[:-1]:
            try:
                return await client.send(self._request(client, url, address), stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await client.send(self._request(client, url, addresses[-1]), stream=True)

    def _request(self, client: httpx.AsyncClient, url: httpx.URL, address: str) -> httpx.Request:
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "ggufvlm",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
        }
        # The certificate is checked against the name, not against the address (httpx documents this extension).
        name = url.raw_host.decode("ascii").strip("[]")
        return client.build_request(
            "GET", url.copy_with(host=address, fragment=None), headers=headers, extensions={"sni_hostname": name}
        )

    async def _image(self, response: httpx.Response) -> bytes:
        if not response.is_success:
            status = f"{response.status_code} {label(response.reason_phrase)}".strip()
            raise self._failure(f"its server answered {status}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind not in _UNNAMED_TYPES:
            raise self._failure(f"it is {label(kind)}, not an image")
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._rules.max_bytes:
            raise self._too_large()
        with _explained(self._failure):
            return await self._body(response)

    async def _body(self, response: httpx.Response) -> bytes:
        unpack = self._unpacker(response.headers.get("Content-Encoding", ""))
        body = bytearray()
        async for piece in response.aiter_raw():
            body += unpack(piece, self._rules.max_bytes + 1 - len(body))
            if len(body) > self._rules.max_bytes:
                raise self._too_large()
        return bytes(body)

    def _unpacker(self, encoding: str) -> Callable[[bytes, int], bytes]:
        """A function that unpacks the next piece of a body, at most so many bytes of it."""
        import zlib

        if encoding.lower() in ("", "identity"):
            return lambda piece, n_most: piece[:n_most]
        if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
            raise self._failure("its server sends it in an encoding that nobody asked for")
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress  # 32: gzip and zlib, told by the first bytes

    def _too_large(self) -> ImageError:
        return self._failure(f"larger than the limit of {self._rules.max_bytes / 1e6:g} MB")


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()  # takes a moment: the certificates of all authorities are read


@contextmanager
def _explained(failure: Callable[[str], ImageError]) -> Iterator[None]:
    """Turn what httpx raises into an ImageError; its own words hold addresses and are left out."""
    import zlib

    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise failure("its server was too slow") from error
    except httpx.ConnectError as error:
        raise failure("no connection to its server") from error
    except httpx.HTTPError as error:
        raise failure("the connection broke, or its server broke the rules of HTTP") from error
    except zlib.error as error:
        raise failure("its server sent damaged data") from error
