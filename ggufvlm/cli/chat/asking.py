"""A question of a chat: is there room for it, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ggufvlm.cli.chat.session import ChatSession

if TYPE_CHECKING:
    from ggufvlm.vlm.answer import PromptSize

ROOM = 128
"""Tokens that an answer should be able to take; fewer are worth a word."""


def ask(session: ChatSession, text: str) -> bool:
    """Send a message, with the staged images before it. False if the dialogue is as it was.

    Raises:
        GGUFVLMError: there is no answer. The dialogue is as it was.
    """
    if not _make_room(session, lambda: session.chat.measure(text)):
        return False
    if session.answer(lambda: session.chat.stream(text), text):
        return True
    session.tell("stopped before the answer began: nothing was asked")
    return False


def regen(session: ChatSession) -> None:
    """Answer the last question again.

    Raises: as :func:`ask`.
    """
    if not _make_room(session, lambda: session.chat.measure(again=True)):
        return
    if not session.answer(session.chat.regen, session.chat.turns[-1].text):
        session.tell("stopped before the answer began: the old one stays")


def _make_room(session: ChatSession, measure: Callable[[], PromptSize]) -> bool:
    """Whether the next question can be asked. A person is offered to drop something first.

    Raises:
        ContextOverflow: it cannot, and nobody is there to ask.
    """
    session.wait_until_loaded()
    while True:
        with session.spinning():
            size = measure()  # an image that is still being encoded for this question has to be waited for
        if size.total + _room_wanted(session) <= size.limit:
            return True
        from ggufvlm.cli.chat.context import offer_to_drop

        choice = offer_to_drop(session, size)
        if choice in "gc":
            return choice == "g"


def _room_wanted(session: ChatSession) -> int:
    longest = session.chat.settings.get("max_tokens", session.chat.vlm.sampling.max_tokens)
    return ROOM if longest == -1 else min(longest, ROOM)
