"""Errors as responses: OpenAI's form, and Ollama's under ``/api``."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.http.faults import Fault, fault_of

_SHOULD = "Input should be "

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.requests import Request


class Refusal(HTTPException):
    """A fault that is raised while a body is read, where FastAPI lets no other exceptions through."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.status, fault.message, fault.headers)
        self.fault = fault


def fault_body(fault: Fault, path: str) -> dict[str, Any]:
    """What a client of this path expects of an error."""
    if path.startswith("/api/"):
        return {"error": f"{fault.message} ({fault.hint})" if fault.hint else fault.message}
    hint = {"hint": fault.hint} if fault.hint else {}
    return {"error": {"message": fault.message, "type": fault.kind, "param": fault.param, "code": fault.code, **hint}}


def fault_response(fault: Fault, path: str) -> Response:
    """An error as a whole response."""
    # escaped: a client's own text may hold half a surrogate pair, which UTF-8 cannot
    body = json.dumps(fault_body(fault, path))
    return Response(body, fault.status, fault.headers, "application/json")


def add_handlers(app: FastAPI) -> None:
    """Let all errors of all routes come out in this form."""
    from fastapi.exceptions import RequestValidationError

    app.add_exception_handler(GGUFVLMError, _of_ours)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _of_validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _of_http)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _of_bug)


async def _of_ours(request: Request, error: GGUFVLMError) -> Response:
    return fault_response(fault_of(error), request.url.path)


async def _of_validation(request: Request, error: RequestValidationError) -> Response:
    where, text = _told(error)
    return fault_response(Fault(status=400, message=f"{where}: {text}", param=where), request.url.path)


def _told(error: RequestValidationError) -> tuple[str, str]:
    """The field at fault, and what it should be. A field of several types has an error for each of them."""
    errors = [(_place(one, error.body), str(one["msg"])) for one in error.errors()]
    first = errors[0][0]
    place = max((place for place, _ in errors if place[: len(first)] == first), key=len)
    text, *others = dict.fromkeys(text for other, text in errors if other == place)
    return ".".join(map(str, place)), " or ".join([text, *(other.removeprefix(_SHOULD) for other in others)])


def _place(error: dict[str, Any], body: Any) -> tuple[str | int, ...]:
    """Where in the body an error is: pydantic's own place holds the types that it tried, too."""
    place: list[str | int] = []
    steps = error["loc"][1:]
    for n_after, step in enumerate(steps, start=1 - len(steps)):
        is_inside = step in body if isinstance(body, dict) else isinstance(body, list) and isinstance(step, int)
        if is_inside:
            body = body[step]
        if is_inside or (error["type"] == "missing" and n_after == 0):
            place.append(step)
    return tuple(place)


async def _of_http(request: Request, error: HTTPException) -> Response:
    if isinstance(error, Refusal):
        return fault_response(error.fault, request.url.path)
    status = HTTPStatus(error.status_code)
    text = str(error.detail) if error.detail and error.detail != status.phrase else f"{status.phrase}"
    if status is HTTPStatus.NOT_FOUND:
        text = f"there is no {request.method} {request.url.path[:100]}"
    headers = dict(error.headers) if error.headers else None
    return fault_response(Fault(status=status, message=text, headers=headers), request.url.path)


async def _of_bug(request: Request, _error: Exception) -> Response:
    # starlette raises it again for the server's log
    fault = Fault(status=500, message="something went wrong in the server; its log tells what", kind="server_error")
    return fault_response(fault, request.url.path)
