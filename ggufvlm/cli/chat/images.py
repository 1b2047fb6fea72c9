"""Commands of a chat about its images."""

from __future__ import annotations

from ggufvlm.cli.chat.layout import say_rows
from ggufvlm.cli.chat.session import ChatSession, counted
from ggufvlm.cli.chat.words import words
from ggufvlm.cli.terminal import console
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media import Image

CLIPBOARD = "clipboard:"


def stage(session: ChatSession, rest: str) -> None:
    """``/image PATH... [--pages 1-5] [--every 2s] [--frames 8] [--scenes]``

    Raises:
        ImageError: there is no such image, or it cannot be read.
        UsageError: nothing is named, or pages are chosen of no document.
    """
    from ggufvlm.cli.chat import documents as chat_documents
    from ggufvlm.media import ArgumentKind, classify, expand

    if not rest:
        raise UsageError("which image?", hint="/image photo.jpg, an URL, a PDF or video; /paste takes the clipboard")
    whole = classify(rest) in (ArgumentKind.IMAGE, ArgumentKind.PATTERN)
    given, selection = chat_documents.take_options([rest] if whole else [word.meaning for word in words(rest)])
    if "-" in given:
        raise UsageError("the standard input is where the messages come from", hint="/image PATH or URL")
    for name in given:
        if classify(name) is ArgumentKind.TEXT:
            raise ImageError(f"no such image: {name}", hint="the question goes on a line of its own")
    chat_documents.stage(session, expand(given)[0], selection)


def paste(session: ChatSession, _rest: str) -> None:
    """``/paste``

    Raises:
        ImageError: there is no image on the clipboard, or no clipboard.
    """
    session.stage(CLIPBOARD)


def cut(session: ChatSession, rest: str) -> None:
    """``/crop X Y W H``

    Raises:
        UsageError: no image, or a rectangle that does not lie inside it.
    """
    from ggufvlm.media import crop

    image, numbers = last_image(session), rest.split()
    if len(numbers) != 4:
        raise UsageError("/crop takes X Y W H, in pixels or per cent", hint="/crop 0 0 50% 50% is the upper left")
    sides = (image.width, image.height, image.width, image.height)
    x, y, width, height = (_pixels(number, side) for number, side in zip(numbers, sides, strict=True))
    session.stage(crop(image, x, y, width, height))


def zoom(session: ChatSession, rest: str) -> None:
    """``/zoom [FACTOR [X Y]]``: a part, as large as the whole.

    Raises:
        UsageError: no image, or numbers that make no sense.
    """
    from ggufvlm.media import crop, resize

    image, numbers = last_image(session), rest.split()
    if len(numbers) not in (0, 1, 3):
        raise UsageError("/zoom takes FACTOR, or FACTOR X Y", hint="/zoom 2 25% 50% looks at the left half's middle")
    factor = _factor(numbers[0]) if numbers else 2.0
    at = numbers[1:] or ["50%", "50%"]
    width, height = max(1, round(image.width / factor)), max(1, round(image.height / factor))
    x = min(max(0, _pixels(at[0], image.width) - width // 2), image.width - width)
    y = min(max(0, _pixels(at[1], image.height) - height // 2), image.height - height)
    session.stage(resize(crop(image, x, y, width, height), image.width, image.height))


def _factor(text: str) -> float:
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 1 < factor <= 100:
        raise UsageError(f"a zoom factor must lie above 1 and at most at 100, not {text}")
    return factor


def _pixels(text: str, side: int) -> int:
    try:
        value = float(text.removesuffix("%"))
        return round(value / 100 * side if text.endswith("%") else value)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no number of pixels, nor per cent") from error


def last_image(session: ChatSession) -> Image:
    """The newest image.

    Raises:
        UsageError: there is none.
        ImageError: it is missing.
    """
    if not session.chat.images:
        raise UsageError("there is no image yet", hint="/image photo.jpg stages one")
    return image_of(session, len(session.chat.images))


def image_of(session: ChatSession, number: int) -> Image:
    """An image with pixels.

    Raises:
        UsageError: there is none of this number.
        ImageError: it is missing.
    """
    image = session.chat.image(number)
    if not isinstance(image, Image):
        raise ImageError(f"{session.name_image(number)} is missing: {image.reason}", hint=f"/replace {number} PATH")
    return image


def list_images(session: ChatSession, _rest: str) -> None:
    """``/images``"""
    images = session.chat.images
    if not images:
        session.show("no images yet")
        return
    where = [f"turn {at}" for at, turn in enumerate(session.chat.turns, 1) for _ in turn.images]
    where += ["staged"] * len(session.chat.staged)
    n_cells = session.size.n_images if session.size else ()
    rows = []
    for place, image in enumerate(images):
        missing = "" if isinstance(image, Image) else f"  missing: {image.reason}"
        tokens = counted(n_cells[place], "token") if place < len(n_cells) else ""
        size = f"{image.width}x{image.height}"
        rows.append((str(place + 1), where[place], size, tokens, image.source + missing))
    say_rows(rows, right=[0, 3])


def show(session: ChatSession, rest: str) -> None:
    """``/show [N]``

    Raises:
        UsageError: no such image, or no terminal to show it.
    """
    from ggufvlm.cli.terminal.graphics import draw

    if rest and not rest.isdecimal():
        raise UsageError("/show takes the number of an image", hint="/images lists them")
    image = image_of(session, int(rest)) if rest else last_image(session)
    if not console.can_draw(session.output, stderr=True):
        raise UsageError("/show needs a terminal that can draw")
    draw(image, session.output)


def put_in_place(session: ChatSession, rest: str) -> None:
    """``/replace N PATH``

    Raises:
        UsageError: not of this form, or no image of this number.
        ImageError: the new one cannot be read.
    """
    number, _, source = rest.partition(" ")
    if not number.isdecimal() or not source.strip():
        raise UsageError("/replace takes the number of an image and the new one", hint="/replace 2 photo.jpg")
    found = list(words(source))
    image = session.chat.replace_image(int(number), found[0].meaning if len(found) == 1 else source.strip())
    session.changed()
    session.tell(f"image {number} is now {image.source}, {image.width}x{image.height}")
