"""PDFs, scans and videos in a chat: their pages and frames are staged as images, as many as leave room to talk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufvlm.cli.chat.session import ChatSession
from ggufvlm.cli.options.documents import DocumentOptions
from ggufvlm.errors import UsageError
from ggufvlm.media.decoding.formats import is_document_name, may_be_scan_name
from ggufvlm.media.documents.document import Selection
from ggufvlm.media.sources.read import is_url, local_path

if TYPE_CHECKING:
    from ggufvlm.vlm.documents import Attachments

_SHARE = 0.75  # of the free context: the rest is for questions and answers
_OPTIONS = ("pages", "every", "frames")


def stage(session: ChatSession, sources: Sequence[str], selection: Selection | None = None) -> None:
    """Stage images, and of PDFs, scans and videos the wanted pages and frames, or as many as fit.

    Raises:
        ImageError: one cannot be read; none is staged then.
        UsageError: a selection that makes no sense.
        MissingExtra: the package that reads it is not installed.
    """
    selection = selection or Selection()
    if selection == Selection() and not any(map(_is_document, sources)):
        session.stage(*sources)
        return
    from ggufvlm.vlm.documents import Attachments

    _stage_what_fits(session, Attachments.read(sources, selection))


def begin_with(session: ChatSession, sources: Sequence[str], selection: Selection) -> None:
    """Stage what a chat begins with, while its model loads and waits to be told the first images.

    Raises: as :func:`stage`.
    """
    vlm = session.chat.vlm
    if selection == Selection() and not any(map(_is_document, sources)):
        vlm.expect(session.stage(*sources))
        return
    from ggufvlm.vlm.documents import Attachments

    attachments = Attachments.read(sources, selection)
    vlm.expect(attachments.first_images)
    _stage_what_fits(session, attachments)


def take_options(words: Sequence[str]) -> tuple[list[str], Selection]:
    """Split ``report.pdf --pages 1-5`` into names and what is chosen, in the words of the command line.

    Raises:
        UsageError: an option without its value, or one that makes no sense.
    """
    names: list[str] = []
    given: dict[str, str] = {}
    remaining = iter(words)
    for word in remaining:
        if word == "--scenes":
            given["scenes"] = word
            continue
        option, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or option not in _OPTIONS:
            names.append(word)
            continue
        value = value if equals else next(remaining, "")
        if not value:
            raise UsageError(f"--{option} of what?", hint="/image report.pdf --pages 1-5; clip.mp4 --every 2s")
        given[option] = value
    frames = given.get("frames")
    if frames is not None and (not frames.isdecimal() or not int(frames)):
        raise UsageError(f"--frames takes a number above 0, not {frames}")
    options = DocumentOptions(
        pages=given.get("pages"),
        every=given.get("every"),
        frames=None if frames is None else int(frames),
        scenes="scenes" in given,
    )
    return names, options.selection()


def _stage_what_fits(session: ChatSession, attachments: Attachments) -> None:
    from ggufvlm.vlm.documents import kept_free

    session.wait_until_loaded()
    vlm, size = session.chat.vlm, session.chat.measure()
    room = round(_SHARE * (size.limit - kept_free(vlm, size.limit) - size.total))
    images, notes = attachments.images(vlm, room)
    session.stage(*images)
    for note in notes:
        session.tell(note)


def _is_document(source: str) -> bool:
    if is_url(source):
        name = source.partition("?")[0].partition("#")[0]
        return is_document_name(name) or may_be_scan_name(name)
    path = local_path(source)
    if path is None:
        return False
    from ggufvlm.batch.inputs.expand import kind_of_file
    from ggufvlm.media.decoding.kinds import FileKind

    return kind_of_file(path) is not FileKind.IMAGE
