"""Ollama's HTTP interface, so that its clients work: questions, lists of models, and a clear no to the rest.

Differences that a client can see: models are chosen where the server is started; a dialogue that is too long is an
error instead of being cut; options that Ollama would honour and this server cannot are refused by name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import Done, Engines, Event, Limits, NotServed, Piece, UnknownModel
from ggufvlm.server.http.errors_json import fault_body, fault_response
from ggufvlm.server.http.faults import fault_of
from ggufvlm.server.http.hangup import ClientGone, until_hangup
from ggufvlm.server.http.json_body import read_object
from ggufvlm.server.http.sse import EventStream
from ggufvlm.server.ollama.body import text_of
from ggufvlm.server.ollama.context import ContextImages, written_context
from ggufvlm.server.ollama.models import description_of, running_of, tag_of
from ggufvlm.server.ollama.reply import OllamaReply
from ggufvlm.server.ollama.request import OllamaRequest, read_chat, read_generate
from ggufvlm.server.ollama.schema import CHAT, ERROR, GENERATE, MODEL

OLLAMA_VERSION = "0.12.11"
"""The release whose interface this follows; clients look at it to know what they may ask for."""

_HUNG_UP = 499  # nginx's number for a client that has left; nobody reads it
_FILES = "models are chosen where this server is started: see ggufvlm pull and ggufvlm serve"
_REFUSED = {
    "/api/pull": _FILES,
    "/api/push": _FILES,
    "/api/create": _FILES,
    "/api/copy": _FILES,
    "/api/delete": _FILES,
    "/api/blobs/{digest}": _FILES,
    "/api/embed": "no model here makes embeddings",
    "/api/embeddings": "no model here makes embeddings",
}
_CONTEXT_BODIES = 4
"""Images of contexts are kept as far as they fit into so many of the longest bodies."""
Handler = Callable[[Request], Awaitable[Response]]


def ollama_router(
    engines: Engines, limits: Limits, log_prompt: Callable[[list[str]], None] = lambda texts: None
) -> APIRouter:
    """Routes under ``/api``. Errors are ``{"error": TEXT}``.

    Args:
        engines: the models.
        limits: what one request may take.
        log_prompt: takes the texts of what is asked.
    """
    router = APIRouter(tags=["Ollama"])
    kept = ContextImages(_CONTEXT_BODIES * limits.body)

    async def chat(request: Request) -> Response:
        asked = await _read(request, lambda body: read_chat(body, limits))
        log_prompt(asked.texts)
        return await _answer(request, engines, asked)

    async def generate(request: Request) -> Response:
        asked = await _read(request, lambda body: read_generate(body, limits, kept))
        log_prompt(asked.texts)
        return await _answer(request, engines, asked, kept)

    async def tags(request: Request) -> Response:
        return JSONResponse({"models": [tag_of(named) for card in engines.cards() for named in card.under_each_name()]})

    async def running(request: Request) -> Response:
        return JSONResponse({"models": [running_of(card) for card in engines.cards() if card.is_loaded]})

    async def show(request: Request) -> Response:
        body = read_object(await request.body())
        return JSONResponse(description_of(engines.card(text_of(body, "model") or text_of(body, "name") or None)))

    async def version(request: Request) -> Response:
        return JSONResponse({"version": OLLAMA_VERSION})

    _add(router, "/api/chat", chat, "POST", CHAT)
    _add(router, "/api/generate", generate, "POST", GENERATE)
    _add(router, "/api/show", show, "POST", MODEL)
    for path, handler in (("/api/tags", tags), ("/api/ps", running), ("/api/version", version)):
        _add(router, path, handler, "GET")
    for path, why in _REFUSED.items():
        methods = ["GET", "POST", "PUT", "DELETE"]
        router.add_api_route(path, _refusal(path, why), methods=methods, include_in_schema=False, response_model=None)
    return router


# -- answers


async def _read(request: Request, read: Callable[[dict[str, Any]], OllamaRequest]) -> OllamaRequest:
    """Reads the body in another thread: images make it long, and others are being answered meanwhile."""
    data = await request.body()
    return await asyncio.to_thread(lambda: read(read_object(data)))


async def _answer(
    request: Request, engines: Engines, asked: OllamaRequest, kept: ContextImages | None = None
) -> Response:
    """``kept`` takes the images of the context that is told; ``None`` for a chat, which tells none."""
    card = (engines.card if asked.only_loads else engines.card_to_answer)(asked.model)
    reply = OllamaReply(
        asked.model if card.is_called(asked.model) else card.name,
        is_chat=kept is None,
        has_to_load=not card.is_loaded,
        context=None if kept is None else lambda runs: written_context(runs, asked.images, kept),
    )
    if asked.only_loads:
        await engines.load(card.name, asked.asked.keep_alive)
        return JSONResponse(reply.without_answer("unload" if asked.asked.keep_alive == 0 else "load"))
    events = until_hangup(request.receive, engines.ask(replace(asked.asked, model=card.name)))
    await anext(events)  # what is wrong with the question is raised here, while there is still a status to send
    reply.begun()
    if asked.stream:
        return _JSONLines(_lines(events, reply))
    return JSONResponse(await _whole(events, reply))


class _JSONLines(EventStream):
    media_type = "application/x-ndjson"


async def _lines(events: AsyncGenerator[Event, None], reply: OllamaReply) -> AsyncGenerator[bytes, None]:
    try:
        async for event in events:
            if isinstance(event, Piece):
                yield _line(reply.piece(event))
            elif isinstance(event, Done):
                yield _line(reply.end(event))
    except GGUFVLMError as error:
        yield _line(fault_body(fault_of(error), "/api/"))
    except ClientGone:
        return
    finally:
        await events.aclose()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def _whole(events: AsyncGenerator[Event, None], reply: OllamaReply) -> dict[str, Any]:
    pieces: list[Piece] = []
    async for event in events:
        if isinstance(event, Piece):
            pieces.append(event)
        elif isinstance(event, Done):
            logprobs = [token for piece in pieces for token in piece.logprobs]
            said, thought = ("".join(getattr(piece, name) for piece in pieces) for name in ("text", "thought"))
            return reply.end(event, said, logprobs, thought)
    raise AssertionError("an answer ends with Done")


# -- routes


def _told(handler: Handler) -> Handler:
    """The handler with errors as Ollama tells them."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except UnknownModel as error:
            fault = fault_of(error)
            return fault_response(replace(fault, message=f"model not found: {fault.message}"), request.url.path)
        except GGUFVLMError as error:
            return fault_response(fault_of(error), request.url.path)
        except ClientGone:
            return Response(status_code=_HUNG_UP)

    return handle


def _refusal(path: str, why: str) -> Handler:
    async def refuse(request: Request) -> Response:
        raise NotServed(f"{path.removesuffix('/{digest}')} is not served: {why}")

    return _told(refuse)


def _add(router: APIRouter, path: str, handler: Handler, method: str, body: dict[str, Any] | None = None) -> None:
    described: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}
    router.add_api_route(
        path,
        _told(handler),
        methods=[method],
        name=f"ollama {path.rpartition('/')[2]}",
        response_model=None,
        openapi_extra=described if body else None,
        responses=dict.fromkeys((400, 404, 429) if body else (), ERROR),
    )
