"""``/v1``: the part of OpenAI's API that a vision-language model can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ggufvlm.config import SamplingParams, SamplingSettings
from ggufvlm.errors import UsageError
from ggufvlm.server.contract import ClientQuestion, Engines, Limits, ModelCard, NotServed
from ggufvlm.server.fetch.remote import RemoteRules
from ggufvlm.server.openai.json_route import JsonRoute
from ggufvlm.server.openai.messages import read_dialogue
from ggufvlm.server.openai.request import ChatRequest, CompletionRequest, Sampling
from ggufvlm.server.openai.respond import ResponseWishes, respond

_STREAMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `stream` as server-sent events that end with `data: [DONE]`.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}

_ALSO_CALLED = {
    "max_tokens": ("max_completion_tokens", "n_predict", "max_new_tokens"),
    "repeat_penalty": ("repetition_penalty",),
    "penalty_last_n": ("repeat_last_n",),
    "constraint": ("format", "json_schema", "response_format"),
}
"""Settings -> fields of requests that ask for them, besides those of the same name."""


def router(engines: Engines, limits: Limits, rules: RemoteRules, log_prompt: Callable[[Any], None]) -> APIRouter:
    """The routes.

    Args:
        rules: whether images may be given as http(s) URLs.
        log_prompt: takes what is asked.
    """
    routes = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=JsonRoute)

    @routes.post("/chat/completions", responses=_STREAMS, response_class=Response)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """Answer a dialogue with images."""
        model = engines.card_to_answer(body.model).name  # before anything is fetched for it
        settings = await asyncio.to_thread(_settings, body, limits)  # others are being answered meanwhile
        log_prompt(body.messages)
        messages = await read_dialogue(body.messages, rules, limits)
        asked = ClientQuestion(model=model, messages=messages, settings=settings, thinks_if_it_can=body.asks_for_effort)
        return await respond(engines, _wanted("chat", [asked], body), request)

    @routes.post("/completions", responses=_STREAMS, response_class=Response)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue a text, without a chat template: for base models."""
        model = engines.card_to_answer(body.model).name
        settings = await asyncio.to_thread(_settings, body, limits)  # others are being answered meanwhile
        log_prompt(body.prompts)
        asked = [ClientQuestion(model=model, raw_prompt=prompt, settings=settings) for prompt in body.prompts]
        wanted = _wanted("text", asked, body)
        prefixes = [question.raw_prompt or "" for question in wanted.questions] if body.echo else []
        return await respond(engines, replace(wanted, prefixes=prefixes), request)

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """What this server has."""
        return {
            "object": "list",
            "data": [_model(named) for card in engines.cards() for named in card.under_each_name()],
        }

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return _model(engines.card(name))

    return routes


def _settings(body: Sampling, limits: Limits) -> SamplingSettings:
    """Raises: NotServed, which names the field that makes no sense."""
    settings = body.settings(limits)
    for name, value in settings.items():
        _check({name: value}, param=_field_of(name, body))
    _check(settings, param="stop")  # the one that other settings may rule out
    return settings


def _field_of(setting: str, body: Sampling) -> str:
    fields = _ALSO_CALLED.get(setting, ())
    return next((field for field in fields if getattr(body, field, None) not in (None, "", {})), setting)


def _check(settings: Mapping[str, Any], param: str) -> None:
    try:
        SamplingParams(**settings)
    except UsageError as error:
        raise NotServed(str(error), param=param, hint=error.hint) from None


def _wanted(kind: Any, prompts: list[ClientQuestion], body: Sampling) -> ResponseWishes:
    options = body.stream_options
    return ResponseWishes(
        kind=kind,
        questions=[again for asked in prompts for again in _several(asked, body.n or 1)],
        stream=bool(body.stream),
        usage=bool(options and options.include_usage),
        n_prompts=len(prompts),
        schema=_field_of("constraint", body),
    )


def _several(asked: ClientQuestion, n: int) -> list[ClientQuestion]:
    """The same question for several answers: with a seed each gets its own, or all would be the same."""
    seed = asked.settings.get("seed")
    if seed is None:
        return [asked] * n
    settings: list[SamplingSettings] = [
        {**asked.settings, "seed": (seed + number) % (2**32 - 1)} for number in range(n)
    ]
    return [replace(asked, settings=one) for one in settings]


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": card.created,
        "owned_by": "ggufvlm",
        "context_length": card.n_ctx,
        "loaded": card.is_loaded,
        "box_scale": card.box_scale,
    }
