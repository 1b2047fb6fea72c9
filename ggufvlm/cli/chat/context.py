"""Who occupies the context, and what to do before it overflows. Nothing is cut silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufvlm.cli.chat.layout import say_rows
from ggufvlm.cli.chat.session import ChatSession, counted
from ggufvlm.errors import ContextOverflow, UsageError

if TYPE_CHECKING:
    from ggufvlm.chat.turn import Turn
    from ggufvlm.vlm.answer import PromptSize

_MOST_NAMED = 3  # images, in a message


def show_context(session: ChatSession) -> None:
    """``/context``: cells of the system message, of each image, of the text, and what is free."""
    session.wait_until_loaded()
    size = session.chat.measure()
    rows = [(name, str(n), source) for name, n, source in _occupants(session, size)]
    rows.append(("free", str(max(0, size.limit - size.total)), f"of {size.limit} tokens"))
    say_rows(rows, right=[1])


def offer_to_drop(session: ChatSession, size: PromptSize) -> str:
    """Say what fills the context and what can be dropped; do what is chosen. ``c`` gives up, ``g`` goes on.

    Raises:
        ContextOverflow: the question does not fit, and nobody is there to ask. The message says what fills the context.
    """
    fits = size.total < size.limit
    if not session.reader.is_interactive:
        return _without_asking(session, size, fits)
    session.show(_explanation(session, size))
    if not _can_drop(session) and not fits:
        session.show("there is nothing to drop: ask for less, or start with a larger --ctx-size")
        return "c"
    return _offer(session, fits)


def _without_asking(session: ChatSession, size: PromptSize, fits: bool) -> str:
    if not fits:
        ways = "/drop N, /drop turn, " if _can_drop(session) else ""
        hint = f"{ways}or a larger --ctx-size makes room".removeprefix("or ")
        raise ContextOverflow(_explanation(session, size), hint=hint)
    session.tell(f"warning: {size.limit - size.total} tokens are left for the answer")
    return "g"


def _explanation(session: ChatSession, size: PromptSize) -> str:
    rows = _occupants(session, size)
    images = [row for row in rows if row[2]]
    parts = [f"the {name} {n}" for name, n, source in rows if not source]
    named = images if len(images) <= _MOST_NAMED else sorted(images, key=lambda row: -row[1])[:_MOST_NAMED]
    of_images = [f"{name} ({source}) takes {n}" for name, n, source in named]
    if len(images) > _MOST_NAMED:
        of_images = [f"{len(images)} images take {sum(n for _, n, _ in images)} ({', '.join(of_images)}, and so on)"]
    # a system message comes before the images, the text behind them
    parts = [*parts[:-1], *of_images, parts[-1]]
    room = "" if size.total >= size.limit else f", which leaves {size.limit - size.total} for the answer"
    return f"this needs {size.total} tokens and the context holds {size.limit}{room}: {', '.join(parts)}"


def _occupants(session: ChatSession, size: PromptSize) -> list[tuple[str, int, str]]:
    n_system = _system_cells(session)
    rows = [("system message", n_system, "")] if session.chat.system else []
    images = session.chat.images
    for number, n_cells in enumerate(size.n_images, 1):
        staged = " (staged)" if number > len(images) - len(session.chat.staged) else ""
        rows.append((f"image {number}", n_cells, images[number - 1].source + staged))
    return [*rows, ("text", max(0, size.n_text - n_system), "")]


def _system_cells(session: ChatSession) -> int:
    """What the words of the system message take; all that is around them is the template's."""
    chat, system = session.chat, session.chat.system
    if not system:
        return 0
    n_text = chat.measure().n_text
    try:
        chat.system = ""
        return max(0, n_text - chat.measure().n_text)
    finally:
        chat.system = system


def _can_drop(session: ChatSession) -> bool:
    return bool(session.chat.turns or session.chat.images)


def _offer(session: ChatSession, fits: bool) -> str:
    chat = session.chat
    offers = []
    if chat.images:
        offers.append(("i", f"drop the oldest [i]mage, {chat.images[0].source}"))
    if chat.turns:
        offers.append(("t", f"drop the oldest [t]urn, {_words_of(chat.turns[0])}"))
    if fits:
        offers.append(("g", "[g]o on"))
    offers.append(("c", "[c]ancel"))
    for _, text in offers:
        session.show(f"  {text}")
    choice = session.reader.choose("which?", "".join(key for key, _ in offers))
    if choice == "i":
        drop_image(session, 1)
    elif choice == "t":
        drop_turn(session, 1)
    return choice


def drop_image(session: ChatSession, number: int) -> None:
    """Drop an image and say so.

    Raises:
        UsageError: there is none of this number.
    """
    dropped = session.chat.drop_image(number)
    session.changed()
    rest = len(session.chat.images)
    more = f"; {counted(rest, 'image')} left, numbered anew" if rest >= number else ""
    session.tell(f"dropped image {number}: {dropped.source}{more}")


def drop_turn(session: ChatSession, number: int) -> None:
    """Drop a question with its answer and images, and say so.

    Raises:
        UsageError: there is none of this number.
    """
    turn = session.chat.drop_turn(number)
    session.changed()
    images = f" and {counted(len(turn.images), 'image')}" if turn.images else ""
    session.tell(f"dropped turn {number}{images}: {_words_of(turn)}")


def parse_drop(session: ChatSession, rest: str) -> None:
    """``/drop N`` or ``/drop turn [N]``.

    Raises:
        UsageError: neither of them, or nothing of this number.
    """
    what, _, number = rest.partition(" ")
    if what == "turn" and (not number or number.strip().isdecimal()):
        drop_turn(session, int(number or 1))
    elif what.isdecimal() and not number:
        drop_image(session, int(what))
    else:
        raise UsageError("/drop takes the number of an image, or: turn N", hint="/images lists them")


def _words_of(turn: Turn) -> str:
    line = " ".join(turn.text.split())
    return f'"{line if len(line) <= 40 else line[:39] + "…"}"'
