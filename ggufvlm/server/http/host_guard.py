"""Who may ask: the Host and Origin of a request."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ggufvlm.server.http.auth import is_among
from ggufvlm.server.http.errors_json import fault_response
from ggufvlm.server.http.faults import Fault
from ggufvlm.server.http.own_names import WEB, is_local_origin, is_own, name_of, split_origin

_SECONDS_KNOWN = "600"  # for which a browser need not ask again
_SHOWN = 100


class HostGuard:
    """Refuses names that are not this server's, and pages of other sites; answers browsers that ask what pages may do.

    A web page that a user of this machine happens to look at could reach a server on loopback: through a name that
    its owner lets point there (DNS rebinding), which shows in Host, or blindly, which shows in Origin.

    Args:
        hosts: names under which the server may be asked, besides this machine's own; ``None`` for any.
        origins: other sites that may ask; ``*`` for any.
        page: paths of files that everybody has. Whoever is shown them elsewhere shall see what is wrong.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str] | None, origins: Iterable[str] = (), page: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._page = tuple(page)
        self._is_open = hosts is None
        self._hosts = frozenset(hosts or ())
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if scope["method"] in ("GET", "HEAD") and is_among(scope["path"], self._page):
            origin = None
        fault = self._fault(headers, origin)
        if fault is not None:
            await fault_response(fault, scope["path"])(scope, receive, send)
        elif origin is None or split_origin(origin)[1] == headers.get("host", "").lower():
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers, origin)(scope, receive, send)
        else:
            await self._app(scope, receive, _readable_by(origin, send))

    def _fault(self, headers: Headers, origin: str | None) -> Fault | None:
        name = name_of(headers.get("host", ""))
        if not self._is_open and (name is None or not self._is_ours(name)):
            hint = name and f"if it is one of its names: ggufvlm serve --allow-host {name[:_SHOWN]}"
            return Fault(status=403, message="this server is not asked under that name", code="foreign_host", hint=hint)
        if origin is None or self._may_ask(origin, headers):
            return None
        message = "pages of other sites may not ask this server"
        return Fault(status=403, message=message, code="foreign_origin", hint=_way_in(origin))

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or is_own(name)

    def _may_ask(self, origin: str, headers: Headers) -> bool:
        if "*" in self._origins or origin.lower() in self._origins or is_local_origin(origin):
            return True
        scheme, address = split_origin(origin)
        if scheme not in WEB:
            return False
        host = headers.get("host", "").lower()
        without_port, _, _ = address.rpartition(":")  # as many proxies hand on the Host
        return (host != "" and host in (address, without_port)) or self._is_own_page_behind_proxy(address, headers)

    def _is_own_page_behind_proxy(self, address: str, headers: Headers) -> bool:
        """Whether it is this server's page, which a proxy shows elsewhere and asks for under another Host."""
        # Browsers send this header over TLS and on loopback, and no page can write it.
        if headers.get("sec-fetch-site") == "same-origin":
            return True
        name = name_of(address)
        if name is None:
            return False
        # A page that was rebound to the proxy can write X-Forwarded-Host, but has none of our names.
        is_forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip().lower() == address
        return name in self._hosts or (is_forwarded and is_own(name))


def _way_in(origin: str) -> str:
    scheme, address = split_origin(origin)
    if not scheme or len(origin) > _SHOWN:
        return "ggufvlm serve --cors-origin names the sites that may"
    hint = f"if it may: ggufvlm serve --cors-origin {origin}"
    name = name_of(address) if scheme in WEB else None
    return f"{hint}; if a proxy shows this server there: --allow-host {name}" if name else hint


def _preflight(headers: Headers, origin: str) -> Response:
    """The answer to a browser that asks on behalf of a page that may ask."""
    answer = Response(headers={"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": _SECONDS_KNOWN})
    wanted = headers.get("access-control-request-headers")
    if wanted is not None:
        answer.headers["Access-Control-Allow-Headers"] = wanted
    if headers.get("access-control-request-private-network") == "true":
        answer.headers["Access-Control-Allow-Private-Network"] = "true"
    _allow(answer.headers, origin)
    return answer


def _readable_by(origin: str, send: Send) -> Send:
    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            _allow(MutableHeaders(scope=message), origin)
        await send(message)

    return send_readable


def _allow(headers: MutableHeaders, origin: str) -> None:
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = "Retry-After"
    headers.add_vary_header("Origin")
