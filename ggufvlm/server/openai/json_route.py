"""Routes whose bodies are read as JSON, whatever their content type says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from ggufvlm.server.http.json_body import read_object

_TYPE = b"content-type"


class JsonRoute(APIRoute):
    """A route of FastAPI that takes ``curl -d`` too. Pages of other sites, which can send that, are refused before."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that is called with each request."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            read = _JsonRequest(request.scope, request.receive)
            await read.read()
            return await handle(read)

        return handle_json


class _JsonRequest(Request):
    """A request whose body was read."""

    def __init__(self, scope: Any, receive: Any) -> None:
        headers = [header for header in scope["headers"] if header[0] != _TYPE]
        super().__init__({**scope, "headers": [*headers, (_TYPE, b"application/json")]}, receive)
        self._object: dict[str, Any] = {}

    async def read(self) -> None:
        """Raises: UsageError, it is no JSON object."""
        data = await self.body()
        self._object = await asyncio.to_thread(read_object, data)  # images make it long, and others are being answered

    async def json(self) -> Any:
        """What FastAPI validates."""
        return self._object
