"""What comes back to OpenAI's clients: whole answers, chunks of streams, token counts, log-probabilities."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ggufvlm.engine.sequence import TokenLogprob
from ggufvlm.server.contract import Done
from ggufvlm.vlm.answer import Answer

Kind = Literal["chat", "text"]
_PREFIX: dict[Kind, str] = {"chat": "chatcmpl-", "text": "cmpl-"}
_OBJECT: dict[Kind, str] = {"chat": "chat.completion", "text": "text_completion"}
_CHUNK: dict[Kind, str] = {"chat": "chat.completion.chunk", "text": "text_completion"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseFrame:
    """The frame of one response: its id, its time, its model."""

    kind: Kind
    model: str
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def make(cls, kind: Kind, model: str) -> ResponseFrame:
        """A new one."""
        return cls(kind=kind, model=model, id=_PREFIX[kind] + uuid.uuid4().hex)

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """A response that does not stream."""
        return {**self._head(_OBJECT), "choices": list(choices), "usage": usage}

    def chunk(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A piece of one that does."""
        return {**self._head(_CHUNK), "choices": list(choices)}

    def _head(self, names: dict[Kind, str]) -> dict[str, Any]:
        return {"id": self.id, "object": names[self.kind], "created": self.created, "model": self.model}


def choice(kind: Kind, index: int, done: Done, prefix: str = "") -> dict[str, Any]:
    """A whole answer; ``prefix`` is put before its text.

    Args:
        kind: of the interface.
        index: which of the answers.
        done: what was said.
        prefix: text before it.
    """
    answer = done.answer
    logprobs = None if answer.logprobs is None else LogprobWriter(kind, len(prefix)).write(answer.logprobs)
    text = prefix + answer.text
    if kind == "text":
        return {"index": index, "text": text, "logprobs": logprobs, **ending(done)}
    thoughts = {"reasoning_content": answer.reasoning} if answer.reasoning else {}
    message = {"role": "assistant", "content": text, "refusal": None, **thoughts}
    return {"index": index, "message": message, "logprobs": logprobs, **ending(done)}


def delta(
    kind: Kind, index: int, text: str | None, logprobs: Any = None, *, thought: str = "", role: bool = False
) -> dict[str, Any]:
    """A piece of an answer; ``None`` is no text at all.

    Args:
        kind: of the interface.
        index: which of the answers.
        text: the new text; ``None`` at the end.
        logprobs: of its tokens, if they were asked for.
        thought: the new text of what the model thinks before it answers.
        role: whether the role is told with it.
    """
    if kind == "text":
        return {"index": index, "text": text or "", "logprobs": logprobs, "finish_reason": None}
    content = {} if text is None or (thought and not text) else {"content": text}
    if thought:
        content["reasoning_content"] = thought
    said = {"role": "assistant", **content} if role else content
    return {"index": index, "delta": said, "logprobs": logprobs, "finish_reason": None}


def ending(done: Done) -> dict[str, Any]:
    """Why an answer ended. OpenAI knows no loops: one that was cut for them has the length it got.

    ``stop_reason`` tells the lengths apart: ``max_tokens``, ``context`` or ``repetition``. There is a ``schema_check``
    where only the finished answer shows whether it keeps to its schema.
    """
    answer = done.answer
    reason = "stop" if answer.finish_reason == "stop" else "length"
    why = "repetition" if answer.finish_reason == "repetition" else answer.stop_reason
    more = {"stop_reason": why, "schema_check": done.schema_check}
    return {"finish_reason": reason, **{name: value for name, value in more.items() if value}}


def usage_of(answers: Iterable[Answer], n_prompts: int = 1) -> dict[str, Any]:
    """Token counts. Several answers to one prompt count it once.

    Args:
        answers: as many to each prompt.
        n_prompts: how many prompts there were; their answers come one prompt after the other.
    """
    found = list(answers)
    firsts = found[:: max(1, len(found) // n_prompts)]
    prompt = sum(answer.usage.n_prompt for answer in firsts)
    said = sum(answer.usage.n_generated for answer in found)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": {"cached_tokens": sum(answer.usage.n_cached for answer in firsts)},
        "completion_tokens_details": {"reasoning_tokens": sum(answer.usage.n_thoughts for answer in found)},
    }


class LogprobWriter:
    """Log-probabilities in the form of chat, or of completions, which counts characters on.

    Args:
        offset: characters before the first token.
    """

    def __init__(self, kind: Kind, offset: int = 0) -> None:
        self._kind = kind
        self._offset = offset

    def write(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """These tokens, which follow those of the last call."""
        if self._kind == "chat":
            return {"content": [_chat_token(token) for token in tokens], "refusal": None}
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(token.top) for token in tokens],
            "text_offset": offsets,
        }


def _chat_token(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token,
        "bytes": list(token.bytes),
        "logprob": token.logprob,
        "top_logprobs": [
            {"token": text, "bytes": list(text.encode()), "logprob": logprob} for text, logprob in token.top
        ],
    }
