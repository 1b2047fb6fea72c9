"""From questions to a response for OpenAI's clients: at once or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import Begun, ClientQuestion, Done, Engines, Piece
from ggufvlm.server.http.errors_json import fault_body
from ggufvlm.server.http.faults import fault_of
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
    """

    kind: Kind
    questions: Sequence[ClientQuestion]
    stream: bool
    usage: bool = False
    n_prompts: int = 1
    prefixes: Sequence[str] = ()

    def prefix(self, index: int) -> str:
        """Of one answer."""
        return self.prefixes[index] if self.prefixes else ""


async def respond(engines: Engines, wanted: ResponseWishes, request: Request) -> Response:
    """Answer.

    Raises: as :meth:`Engines.ask <ggufvlm.server.contract.Engines.ask>`; ClientGone. Errors that come when a stream
        has begun are sent within it.
    """
    events = until_hangup(request.receive, merge_streams([engines.ask(asked) for asked in wanted.questions]))
    try:
        _, begun = await anext(events)
        assert isinstance(begun, Begun)
        reply = ResponseFrame.make(wanted.kind, begun.model)
        if not wanted.stream:
            return JSONResponse(await _whole(events, wanted, reply))
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_chunks(events, wanted, reply, request.url.path))


async def _whole(
    events: AsyncGenerator[Numbered, None], wanted: ResponseWishes, reply: ResponseFrame
) -> dict[str, object]:
    answers: dict[int, Answer] = {}
    async with aclosing(events):
        async for index, item in events:
            if isinstance(item, Done):
                answers[index] = item.answer
    ordered = [answers[index] for index in sorted(answers)]
    choices = [choice(wanted.kind, index, answer, wanted.prefix(index)) for index, answer in enumerate(ordered)]
    return reply.whole(choices, usage_of(ordered, wanted.n_prompts))


async def _chunks(
    events: AsyncGenerator[Numbered, None], wanted: ResponseWishes, reply: ResponseFrame, path: str
) -> AsyncGenerator[bytes, None]:
    kind, answers = wanted.kind, dict[int, Answer]()
    writers = [LogprobWriter(kind, len(wanted.prefix(index))) for index in range(len(wanted.questions))]
    more = {"usage": None} if wanted.usage else {}
    async with aclosing(events):
        for index in range(len(wanted.questions)):
            if kind == "chat" or wanted.prefix(index):
                yield event({**reply.chunk([delta(kind, index, wanted.prefix(index), role=True)]), **more})
        try:
            async for index, item in events:
                if isinstance(item, Piece):
                    logprobs = writers[index].write(item.logprobs) if item.logprobs else None
                    yield event({**reply.chunk([delta(kind, index, item.text, logprobs)]), **more})
                elif isinstance(item, Done):
                    answers[index] = item.answer
                    last = {**delta(kind, index, None), **ending(item.answer)}
                    yield event({**reply.chunk([last]), **more})
        except GGUFVLMError as error:
            yield event(fault_body(fault_of(error), path))
        else:
            if wanted.usage:
                ordered = [answers[index] for index in sorted(answers)]
                yield event({**reply.chunk([]), "usage": usage_of(ordered, wanted.n_prompts)})
    yield DONE
