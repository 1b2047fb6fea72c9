"""``1-5,8,12-`` -> page numbers."""

from __future__ import annotations

import re

from ggufvlm.errors import UsageError

_PIECE = re.compile(r"\s*(\d+)?\s*(-)?\s*(\d+)?\s*")
_HINT = "for example 3, or 1-5,8, or 10- for the tenth and all that follow"


def page_numbers(selection: str, n_pages: int) -> list[int]:
    """The pages that are meant, each once, in the order in which they are named; those beyond the end are left out.

    Args:
        selection: numbers and ranges with commas between them; pages count from 1; a range may lack an end.
        n_pages: of the document.

    Raises:
        UsageError: not of this form, or all of it lies beyond the end.
    """
    chosen: dict[int, None] = {}
    for piece in selection.split(","):
        first, last = _bounds(piece, selection, n_pages)
        chosen.update(dict.fromkeys(range(first, min(last, n_pages) + 1)))
    if not chosen:
        raise UsageError(f"selection of pages {selection}: beyond the end, there are {n_pages}")
    return list(chosen)


def numbers_in(name: str, selection: str | None, n_pages: int) -> list[int]:
    """The pages of a document that are meant, as :func:`page_numbers` tells them.

    Args:
        name: of the document, for messages.
        selection: as there; ``None`` is all.
        n_pages: of the document.

    Raises:
        UsageError: the selection makes no sense; the message names the document.
    """
    try:
        return page_numbers(selection or "1-", n_pages)
    except UsageError as error:
        raise UsageError(f"{name}: {error}", hint=error.hint) from None


def _bounds(piece: str, selection: str, n_pages: int) -> tuple[int, int]:
    match = _PIECE.fullmatch(piece)
    start, dash, end = match.groups() if match else (None, None, None)
    if start is None and end is None:
        raise UsageError(f"not a selection of pages: {selection!r}", hint=_HINT)
    first = int(start) if start else 1
    last = int(end) if end else (n_pages if dash else first)
    if first < 1 or (end and last < first):
        raise UsageError(f"not a selection of pages: {selection!r}", hint=_HINT)
    return first, last
