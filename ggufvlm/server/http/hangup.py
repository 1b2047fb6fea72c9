"""Clients that hang up: what is being computed for them ends, and their slot is free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):  # noqa: N818 - reads as what happened
    """Nobody is left to hear the answer."""


async def until_hangup(receive: Receive, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Hand on events while the client listens. The events' generator is closed at the end, however it comes.

    Args:
        receive: of the request (``request.receive``), whose body has been read.
        events: what is computed for the client.

    Raises:
        ClientGone: it hung up.
    """
    listening = asyncio.ensure_future(_wait_for_hangup(receive))
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(events))
            await asyncio.wait((coming, listening), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                raise ClientGone
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        listening.cancel()
        if coming is not None and not coming.done():
            coming.cancel()
            await asyncio.wait((coming,))
        await events.aclose()


async def _wait_for_hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
