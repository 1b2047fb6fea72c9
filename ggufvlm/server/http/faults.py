"""Errors -> status and public text. What names the server's own files stays in its log."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ggufvlm.errors import ConstraintError, ContextOverflow, GGUFVLMError, InputError, UsageError
from ggufvlm.server.contract import Busy, EngineGone, NotServed, TooSlow, UnknownModel

_log = logging.getLogger(__name__)

_OURS = "the model failed; the server's log tells why"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What a client is told.

    Attributes:
        status: of HTTP.
        message: one line without paths.
        kind, code: OpenAI's ``type`` and ``code``.
        param: the field that is at fault.
        headers: to be sent along.
        hint: the way out.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] | None = None
    hint: str | None = None


def fault_of(error: GGUFVLMError, question: str | None = None, schema: str = "response_format") -> Fault:
    """What to tell a client of an error; the rest is logged.

    Args:
        error: what happened.
        question: the field that holds the question, if it was made out already: it is at fault if no other one is.
        schema: the field that says what answers have to look like.
    """
    text, hint = str(error), error.hint
    if isinstance(error, UnknownModel):
        return Fault(status=404, message=text, code="model_not_found", param="model", hint=hint)
    if isinstance(error, Busy):
        wait = {"Retry-After": str(error.retry_after)}
        return Fault(status=429, message=text, kind="rate_limit_error", code="queue_full", headers=wait)
    if isinstance(error, TooSlow):
        return Fault(status=504, message=text, kind="server_error", code="timeout")
    if isinstance(error, EngineGone):
        wait = {"Retry-After": "2"}
        return Fault(status=503, message=text, kind="server_error", code="engine_gone", headers=wait)
    if isinstance(error, NotServed):
        return Fault(status=400, message=text, param=error.param, hint=hint)
    if isinstance(error, ContextOverflow):
        return Fault(status=400, message=text, code="context_length_exceeded", param=question, hint=hint)
    if isinstance(error, InputError):
        return Fault(status=400, message=text, code="invalid_image", param=question or "messages", hint=hint)
    if isinstance(error, ConstraintError):
        return Fault(status=400, message=text, param=schema, hint=hint)
    if isinstance(error, UsageError):
        return Fault(status=400, message=text, param=question, hint=hint)
    _log.error("%s%s", text, f" ({error.hint})" if error.hint else "")
    return Fault(status=500, message=_OURS, kind="server_error", code="engine_error")
