"""Questions that were being answered when the engine's process ended, so that one of them cannot end it indefinitely.

Clients send what failed again. A question that was there is answered only while no other such question is; if the
process ends again, it was this one, and it is refused from then on. What is answered is cleared of suspicion.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ggufvlm.errors import UsageError
from ggufvlm.server.contract import ClientQuestion

_MOST = 256


class CrashQuarantine:
    """Keeps requests that may have crashed one model away from others, and refuses those that did."""

    def __init__(self) -> None:
        self._crashes: OrderedDict[bytes, int] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._running: list[ClientQuestion] = []
        self._alone: bytes | None = None

    @asynccontextmanager
    async def watch(self, asked: ClientQuestion) -> AsyncIterator[None]:
        """While a question is answered; waits until it may be.

        Raises:
            UsageError: it has ended the process twice.
        """
        if not self._crashes or _name(asked) not in self._crashes:
            self._running.append(asked)
            try:
                yield
            finally:
                self._running = [other for other in self._running if other is not asked]
            return
        name = _name(asked)
        async with self._one_at_a_time:
            if self._crashes.get(name, 0) > 1:
                raise UsageError("this request has ended the model's process twice and is not tried again")
            self._alone = name
            try:
                yield
            finally:
                self._alone = None

    def answered(self, asked: ClientQuestion) -> None:
        """It did no harm."""
        if self._crashes:
            self._crashes.pop(_name(asked), None)

    def crashed(self) -> None:
        """The process ended. To be called before those that wait for it go on."""
        if self._alone is not None:
            self._crashes[self._alone] = 2
        for asked in self._running:
            self._crashes.setdefault(_name(asked), 1)
        while len(self._crashes) > _MOST:
            self._crashes.popitem(last=False)


def _name(asked: ClientQuestion) -> bytes:
    # not pickled: equal objects can have different pickles
    said = repr((asked.messages, asked.raw_prompt, asked.raw_images, asked.earlier))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
