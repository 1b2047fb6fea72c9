"""Several answers to one request, as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import Begun, Event

Numbered = tuple[int, Event]


async def merge_streams(streams: Sequence[AsyncGenerator[Event, None]]) -> AsyncGenerator[Numbered, None]:
    """The events of all, each with its stream's place. All have begun before anything else is told.

    Raises: what the first stream raises that fails; the others are closed.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for only_event in only:
                yield 0, only_event
        return
    queue: asyncio.Queue[tuple[int, Event | GGUFVLMError | None]] = asyncio.Queue()
    tasks = [asyncio.create_task(_pump(place, stream, queue)) for place, stream in enumerate(streams)]
    early: list[Numbered] = []
    n_begun = n_ended = 0
    try:
        while n_ended < len(streams):
            place, event = await queue.get()
            if isinstance(event, GGUFVLMError):
                raise event
            if event is None:
                n_ended += 1
                continue
            n_begun += isinstance(event, Begun)
            early.append((place, event))
            if n_begun == len(streams):
                early.sort(key=lambda item: not isinstance(item[1], Begun))
                for item in early:
                    yield item
                early.clear()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _pump(
    place: int, stream: AsyncGenerator[Event, None], queue: asyncio.Queue[tuple[int, Event | GGUFVLMError | None]]
) -> None:
    async with aclosing(stream):
        try:
            async for event in stream:
                queue.put_nowait((place, event))
        except GGUFVLMError as error:
            queue.put_nowait((place, error))
        else:
            queue.put_nowait((place, None))
