"""From questions to a response for OpenAI's clients: at once or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import Begun, ClientQuestion, Done, Engines, Piece
from ggufvlm.server.http.errors_json import fault_body, fault_response
from ggufvlm.server.http.faults import Fault, fault_of
from ggufvlm.server.http.hangup import until_hangup
from ggufvlm.server.http.sse import DONE, EventStream, event
from ggufvlm.server.openai.answer import Kind, LogprobWriter, ResponseFrame, choice, delta, ending, usage_of
from ggufvlm.server.openai.merge_streams import Numbered, merge_streams
from ggufvlm.vlm.answer import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseWishes:
    """How a client wants its answers.

    Attributes:
        questions: one for each answer, those of one prompt side by side.
        n_prompts: how many different ones.
        prefixes: text to put before each answer.
        usage: send token counts at the end of a stream.
        schema: the field that says what answers have to look like, to be named if it is at fault.
    """

    kind: Kind
    questions: Sequence[ClientQuestion]
    stream: bool
    usage: bool = False
    n_prompts: int = 1
    prefixes: Sequence[str] = ()
    schema: str = "response_format"

    def fault_of(self, error: GGUFVLMError) -> Fault:
        """What to tell of an error; it names the field of the request."""
        return fault_of(error, question="messages" if self.kind == "chat" else "prompt", schema=self.schema)

    def prefix(self, index: int) -> str:
        """The text to put before one answer; empty for most."""
        return self.prefixes[index] if self.prefixes else ""


async def respond(engines: Engines, wanted: ResponseWishes, request: Request) -> Response:
    """Answer.

    Args:
        engines: answer.
        wanted: the questions, and how the client wants its answers.
        request: the client's, which may hang up.

    Returns: The answers, or what is wrong. Errors that come when a stream has begun are sent within it.

    Raises: ClientGone.
    """
    events = until_hangup(request.receive, merge_streams([engines.ask(asked) for asked in wanted.questions]))
    try:
        _, begun = await anext(events)
        assert isinstance(begun, Begun)
        reply = ResponseFrame.make(wanted.kind, begun.model)
        if not wanted.stream:
            return JSONResponse(await _whole(events, wanted, reply))
    except GGUFVLMError as error:
        await events.aclose()
        return fault_response(wanted.fault_of(error), request.url.path)
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_chunks(events, wanted, reply, request.url.path))


async def _whole(
    events: AsyncGenerator[Numbered, None], wanted: ResponseWishes, reply: ResponseFrame
) -> dict[str, object]:
    answers: dict[int, Done] = {}
    async with aclosing(events):
        async for index, item in events:
            if isinstance(item, Done):
                answers[index] = item
    ordered = [answers[index] for index in sorted(answers)]
    choices = [choice(wanted.kind, index, done, wanted.prefix(index)) for index, done in enumerate(ordered)]
    return reply.whole(choices, usage_of((done.answer for done in ordered), wanted.n_prompts))


async def _chunks(
    events: AsyncGenerator[Numbered, None], wanted: ResponseWishes, reply: ResponseFrame, path: str
) -> AsyncGenerator[bytes, None]:
    writer = _ChunkWriter(wanted, reply)
    async with aclosing(events):
        for opening in writer.openings():
            yield opening
        try:
            async for index, item in events:
                if isinstance(item, Piece):
                    yield writer.piece(index, item)
                elif isinstance(item, Done):
                    yield writer.end(index, item)
        except GGUFVLMError as error:
            yield event(fault_body(wanted.fault_of(error), path))
        else:
            if wanted.usage:
                yield writer.usage()
    yield DONE


class _ChunkWriter:
    """Writes the chunks of one streamed response as server-sent events."""

    def __init__(self, wanted: ResponseWishes, reply: ResponseFrame) -> None:
        self._wanted = wanted
        self._reply = reply
        self._answers: dict[int, Answer] = {}
        self._logprobs = [
            LogprobWriter(wanted.kind, len(wanted.prefix(index))) for index in range(len(wanted.questions))
        ]

    def openings(self) -> Iterator[bytes]:
        """What comes before the model's own text: the role in a chat, the prompt where it is to be echoed."""
        for index in range(len(self._wanted.questions)):
            prefix = self._wanted.prefix(index)
            if self._wanted.kind == "chat" or prefix:
                yield self._chunk(delta(self._wanted.kind, index, prefix, role=True))

    def piece(self, index: int, piece: Piece) -> bytes:
        """Some text of one answer."""
        logprobs = self._logprobs[index].write(piece.logprobs) if piece.logprobs else None
        return self._chunk(delta(self._wanted.kind, index, piece.text, logprobs, thought=piece.thought))

    def end(self, index: int, done: Done) -> bytes:
        """The end of one answer, which is kept for the token counts."""
        self._answers[index] = done.answer
        return self._chunk({**delta(self._wanted.kind, index, None), **ending(done)})

    def usage(self) -> bytes:
        """The token counts of all answers, without a choice, as OpenAI sends them."""
        ordered = [self._answers[index] for index in sorted(self._answers)]
        return event({**self._reply.chunk([]), "usage": usage_of(ordered, self._wanted.n_prompts)})

    def _chunk(self, choice_delta: dict[str, Any]) -> bytes:
        more = {"usage": None} if self._wanted.usage else {}
        return event({**self._reply.chunk([choice_delta]), **more})
