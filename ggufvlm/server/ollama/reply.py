"""Answers as Ollama writes them: an object for each piece, and a last one with the numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from ggufvlm.engine.sequence import TokenLogprob
from ggufvlm.server.contract import Done, Piece


class OllamaReply:
    """Makes the objects of one answer.

    Args:
        model: what the client calls it.
        is_chat: of ``/api/chat``; else of ``/api/generate``.
        has_to_load: the model was not in memory when the question came.
        context: makes the field of that name.
    """

    def __init__(
        self,
        model: str,
        *,
        is_chat: bool,
        has_to_load: bool = False,
        context: Callable[[Sequence[Sequence[int]]], list[int]] | None = None,
    ) -> None:
        self._model = model
        self._is_chat = is_chat
        self._has_to_load = has_to_load
        self._context = context
        self._started = time.perf_counter_ns()
        self._loading = 0

    def begun(self) -> None:
        """The model begins to answer."""
        if self._has_to_load:
            self._loading = time.perf_counter_ns() - self._started

    def piece(self, piece: Piece) -> dict[str, Any]:
        """Some of the answer, as it streams."""
        return {**self._head(piece.text, piece.thought), **_logprobs(piece.logprobs), "done": False}

    def end(
        self, done: Done, text: str = "", logprobs: Iterable[TokenLogprob] = (), thought: str = ""
    ) -> dict[str, Any]:
        """The last object of a stream, or with the whole text the only one. Durations are nanoseconds.

        Args:
            done: the answer.
            text: what is told with it.
            logprobs: of the tokens of that text.
            thought: what the model thought before it.
        """
        answer, usage, times = done.answer, done.answer.usage, done.answer.times
        return {
            **self._head(text, thought),
            **_logprobs(tuple(logprobs)),
            "done": True,
            "done_reason": answer.finish_reason,
            **({"stop_reason": answer.stop_reason} if answer.stop_reason else {}),
            **({"schema_check": done.schema_check} if done.schema_check else {}),
            **({"context": self._context(done.context)} if self._context and done.context else {}),
            "total_duration": time.perf_counter_ns() - self._started,
            "load_duration": self._loading,
            "prompt_eval_count": usage.n_prompt,
            "prompt_eval_duration": _nanoseconds(times.encode + times.prefill),
            "eval_count": usage.n_generated,
            "eval_duration": _nanoseconds(times.decode),
        }

    def without_answer(self, reason: str) -> dict[str, Any]:
        """For a request without a prompt: ``load`` or ``unload``."""
        return {**self._head(""), "done": True, "done_reason": reason}

    def _head(self, text: str, thought: str = "") -> dict[str, Any]:
        thinking = {"thinking": thought} if thought else {}
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, **thinking}}
            if self._is_chat
            else {"response": text, **thinking}
        )
        return {"model": self._model, "created_at": time_text(time.time()), **said}


def time_text(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _logprobs(tokens: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    if not tokens:
        return {}
    return {
        "logprobs": [
            {
                "token": token.token,
                "logprob": token.logprob,
                "bytes": list(token.bytes),
                "top_logprobs": [{"token": text, "logprob": logprob} for text, logprob in token.top],
            }
            for token in tokens
        ]
    }
