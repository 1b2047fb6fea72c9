"""The web page of the server: fixed files of this folder, with the headers that keep a browser strict about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline, and no text can become markup (trusted types): an answer is only ever text.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # a new version of the server shows at once; unchanged files cost an answer of 304
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    headers: dict[str, str]


@lru_cache(maxsize=1)
def _files() -> dict[str, _File]:
    """All there is, by name: no name of a request is ever looked up on the disk."""
    files = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{sha256(content).hexdigest()[:20]}"'
            files[path.name] = _File(content, {**_HEADERS, "Content-Type": _TYPES[path.suffix], "ETag": tag})
    return files


def page_router() -> APIRouter:
    """Routes of the page: ``/`` and ``/page/NAME``. They need no API key: the page asks when the server does."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", _index, response_model=None)
    router.add_api_route("/page/{name}", _part, response_model=None)
    return router


async def _index(request: Request) -> Response:
    return _answer(_files()["index.html"], request)


async def _part(name: str, request: Request) -> Response:
    file = _files().get(name)
    if file is None or name == "index.html":
        raise HTTPException(status_code=404, detail="no such file")
    return _answer(file, request)


def _answer(file: _File, request: Request) -> Response:
    if request.headers.get("If-None-Match") == file.headers["ETag"]:
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
