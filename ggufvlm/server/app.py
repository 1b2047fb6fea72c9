"""The application: routes, guards, and what they share."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from ggufvlm.server.contract import Engines, Limits
from ggufvlm.server.fetch.remote import RemoteRules
from ggufvlm.server.http.access_log import AccessLog
from ggufvlm.server.http.auth import KeyGuard
from ggufvlm.server.http.body import BodyLimit
from ggufvlm.server.http.docs_page import docs_page
from ggufvlm.server.http.errors_json import add_handlers
from ggufvlm.server.http.head import HeadAsGet
from ggufvlm.server.http.host_guard import HostGuard
from ggufvlm.server.metrics import CONTENT_TYPE, Metrics
from ggufvlm.server.ollama.routes import ollama_router
from ggufvlm.server.openai import routes as openai_routes
from ggufvlm.server.page.router import page_router
from ggufvlm.version import __version__

_log = logging.getLogger(__name__)

_PAGE = ("/", "/page/")
_DESCRIPTION = "Vision-language models on this machine, for clients of OpenAI and of Ollama."
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "hint": {"type": "string"},
            },
        }
    },
}
_ERRORS = {
    400: "Something in the request is not right; `param` names it.",
    401: "A key is needed.",
    403: "Asked under a foreign name, or by the page of another site.",
    404: "No such model.",
    413: "The body is too large.",
    429: "The queue is full; `Retry-After` says when to try again.",
    500: "The model failed.",
    503: "The model's process ended, or the server is being stopped.",
    504: "The answer took too long.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Who may ask what.

    Attributes:
        api_key: needed by all clients; ``None`` for none.
        hosts: names under which the server may be asked, besides this machine's own; ``None`` for any.
        origins: other sites whose pages may ask.
        log_prompts: write what is asked into the log.
    """

    limits: Limits
    remote: RemoteRules
    api_key: str | None = None
    hosts: tuple[str, ...] | None = ()
    origins: tuple[str, ...] = ()
    log_prompts: bool = False


def make_app(engines: Engines, rules: Rules, metrics: Metrics, *, n_at_a_time: int = 256) -> FastAPI:
    """The application.

    Args:
        engines: its models.
        rules: who may ask what.
        metrics: what the pool counts with too.
        n_at_a_time: requests with a body that are in flight at a time.
    """
    app = FastAPI(
        title="ggufvlm",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # these load scripts from other sites
        redoc_url=None,
        responses={
            status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
            for status, text in _ERRORS.items()
        },
    )
    add_handlers(app)
    log_prompt = _log_prompt if rules.log_prompts else _say_nothing
    app.include_router(openai_routes.router(engines, rules.limits, rules.remote, log_prompt))
    app.include_router(ollama_router(engines, rules.limits, log_prompt))
    app.include_router(page_router())
    _add_status(app, engines, metrics)
    # the last one is outermost
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limit=rules.limits.body, n_at_a_time=n_at_a_time)
    if rules.api_key is not None:
        app.add_middleware(KeyGuard, key=rules.api_key, open_paths=_PAGE)
    app.add_middleware(HostGuard, hosts=rules.hosts, origins=rules.origins, page=_PAGE)
    app.add_middleware(AccessLog, metrics=metrics)
    return app


def _add_status(app: FastAPI, engines: Engines, metrics: Metrics) -> None:
    @app.get("/health", tags=["Status"])
    async def health() -> dict[str, str]:
        """Whether the server answers, and whether a model has stopped to."""
        if not engines.ill:
            return {"status": "ok"}
        # no names: no key is needed here
        return {"status": "degraded", "reason": "a model's process did not answer any more and was ended"}

    @app.get("/metrics", tags=["Status"], response_class=Response)
    async def show_metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return docs_page(app.openapi(), str(request.base_url))


def _log_prompt(asked: Any) -> None:
    texts = [message.model_dump() for message in asked] if hasattr(asked[0], "model_dump") else asked
    _log.info("asked: %s", json.dumps(_without_images(texts), ensure_ascii=False))


def _without_images(value: Any) -> Any:
    """What is asked, with images shortened."""
    if isinstance(value, str):
        return value if not value.startswith("data:") else value[:40] + "…"
    if isinstance(value, list):
        return [_without_images(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_images(item) for name, item in value.items() if item is not None}
    return value


def _say_nothing(_asked: Any) -> None:
    pass
