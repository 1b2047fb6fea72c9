"""A dialogue that keeps its images: turns, staged images, undo, save and load. Knows nothing of KV cells."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.chat.file import SavedDialogue, read_dialogue
from ggufvlm.chat.turn import ChatImage, MissingImage, Turn
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.families import Message
from ggufvlm.media import Image, ImageSource, load, local_path
from ggufvlm.vlm.answer import Answer, AnswerStream, PromptSize
from ggufvlm.vlm.request import Images, as_list, require_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ggufvlm.config import SamplingSettings
    from ggufvlm.vlm.vlm import VLM


_PLACE = re.compile(r"(.+?) (?:at )?(page \d+|(?:\d+:)+\d\d\.\d)")
"""How the sources of pages and frames end."""


class Chat:
    """Questions to one model that remember what was said before.

    >>> chat = Chat(VLM.load("demo"))
    >>> print(chat.send("What is on the left?", ["blocks.png"]))
    The blue column.
    >>> print(chat.send("What is on the right?"))
    The green bar.

    Attributes:
        vlm: answers; may be replaced by another one between two questions.
        system: the system message; None has none, and the model's template may put in its own.
        settings: fields of :class:`~ggufvlm.SamplingParams` that differ from the model's own.
        turns: what was said, oldest first.
        staged: images that go with the next question.
        last_answer: with the numbers of the newest answer that was made here.
        files: where images were read from, by their id.
    """

    def __init__(self, vlm: VLM, *, system: str | None = None, **settings: Unpack[SamplingSettings]) -> None:
        self.vlm = vlm
        self.system = system
        self.settings = settings
        self.turns: list[Turn] = []
        self.staged: list[ChatImage] = []
        self.last_answer: Answer | None = None
        self.files: dict[str, Path] = {}
        self._asking = threading.Lock()
        self._unfinished: weakref.ref[AnswerStream] | None = None

    # -- asking

    def send(self, text: str, images: Images = ()) -> Answer:
        """Ask, and wait for the whole answer.

        Args:
            text: the question.
            images: images for it, behind those that are staged: whatever :meth:`stage` takes.

        Raises:
            ImageError: an image cannot be read, or one of the dialogue is missing.
            UsageError: the last question is still being answered, by another stream or in another thread.
            ContextOverflow, EngineError: see there. The dialogue is then as it was.
        """
        return self.stream(text, images).answer

    def stream(self, text: str, images: Images = ()) -> AnswerStream:
        """Ask, and get the answer piece by piece. It is part of the dialogue when the iteration has ended.

        An answer that is stopped (``close``) stays as far as it came; one that is stopped before its first word is
        as if it had not been asked for.

        Raises: as :meth:`send`.
        """
        with self._asking:
            self._require_end_of_last()
            given = list(self.staged)
            self.stage(*as_list(images))
            try:
                return self._ask(tuple(self.staged), text)
            except BaseException:
                self.staged = given
                raise

    def regen(self) -> AnswerStream:
        """Ask the last question again; its answer takes the place of the old one when it is complete.

        Raises:
            UsageError: nothing has been asked yet.
            Else as :meth:`send`.
        """
        with self._asking:
            self._require_end_of_last()
            turn = self._last()
            return self._ask(turn.images, turn.text, instead_of=turn)

    def _require_end_of_last(self) -> None:
        """A second question would be asked without what the first one says, and one of both would be lost."""
        unfinished = self._unfinished() if self._unfinished else None
        if unfinished is not None and not unfinished.is_over:
            raise UsageError(
                "the last question is still being answered",
                hint="read its answer to the end, or close() it; a second Chat asks at the same time",
            )

    def _ask(self, images: tuple[ChatImage, ...], text: str, *, instead_of: Turn | None = None) -> AnswerStream:
        require_text("text", text)
        if not text and not images:
            raise UsageError("there is no question")
        before = self.turns[:-1] if instead_of else self.turns
        inner = self.vlm.stream([*self._messages(before), _question(images, text)], **self.settings)

        def finish() -> Answer:
            answer = inner.answer
            self.last_answer = answer
            if answer.text or answer.finish_reason != "abort":
                turn = Turn(images, text, answer.text, answer.finish_reason)
                self.turns = [*before, turn]
                if not instead_of:
                    self.staged = []
            return answer

        stream = AnswerStream(inner, inner.abort, finish)
        self._unfinished = weakref.ref(stream)  # one that nobody holds any more will not end
        return stream

    def _messages(self, turns: Sequence[Turn]) -> list[Message]:
        messages = [Message("system", (self.system,))] if self.system is not None else []
        for turn in turns:
            messages += [_question(turn.images, turn.text), Message("assistant", (turn.answer,))]
        return messages

    @property
    def messages(self) -> list[Message]:
        """The dialogue as :meth:`VLM.stream` takes it, without what is staged.

        Raises:
            ImageError: one of its images is missing.
        """
        return self._messages(self.turns)

    def measure(self, text: str | None = None, *, again: bool = False) -> PromptSize:
        """What the dialogue takes of the context, with what is staged. Nothing is computed.

        Args:
            text: the next question, if there is one already.
            again: measure what :meth:`regen` would ask instead.

        Raises:
            ImageError: one of its images is missing.
        """
        if again:
            turn = self._last()
            return self.vlm.measure([*self._messages(self.turns[:-1]), _question(turn.images, turn.text)])
        messages = self.messages
        if text is not None or self.staged or not self.turns:
            messages.append(_question(tuple(self.staged), text or ""))
        return self.vlm.measure(messages)

    def prepare(self) -> None:
        """Begin to compute what the next question will begin with, while it is being typed. Returns at once."""
        if not self.missing and (self.turns or self.staged):
            self.vlm.prepare([*self.messages, _question(tuple(self.staged), "")])

    # -- images: numbered from 1, those of the dialogue before those that are staged

    @property
    def images(self) -> tuple[ChatImage, ...]:
        """All images in order; their numbers begin at 1."""
        return (*(image for turn in self.turns for image in turn.images), *self.staged)

    @property
    def missing(self) -> dict[int, MissingImage]:
        """Images that were not found again, by number."""
        numbered = enumerate(self.images, 1)
        return {number: image for number, image in numbered if isinstance(image, MissingImage)}

    def image(self, number: int) -> ChatImage:
        """One of the images.

        Raises:
            UsageError: there are not as many.
        """
        self._check(number)
        return self.images[number - 1]

    def stage(self, *sources: ImageSource) -> tuple[Image, ...]:
        """Put images before the next question.

        Args:
            sources: a path, URL, data URI, bytes, an :class:`~ggufvlm.Image`, a Pillow image or an array.

        Raises:
            ImageError: one cannot be read; none is staged then.
        """
        images = tuple(self._load(source) for source in sources)
        self.staged += images
        return images

    def drop_image(self, number: int) -> ChatImage:
        """Take an image out of the dialogue, or off the stage; what was said about it stays.

        Raises:
            UsageError: there is no image of this number.
        """
        dropped = self.image(number)
        self._put(number, ())
        return dropped

    def replace_image(self, number: int, source: ImageSource) -> Image:
        """Put another image in the place of one, missing or not.

        Raises:
            UsageError: there is no image of this number.
            ImageError: the new one cannot be read.
        """
        self._check(number)
        image = self._load(source)
        self._put(number, (image,))
        return image

    def _load(self, source: ImageSource) -> Image:
        image = load(source)
        path = local_path(source)
        if path is not None:
            self.files[image.id] = path
        return image

    def _check(self, number: int) -> None:
        count = len(self.images)
        if not 1 <= number <= count:
            raise UsageError(f"there is no image {number}: " + (f"there are {count}" if count else "there is none yet"))

    def _put(self, number: int, images: tuple[ChatImage, ...]) -> None:
        place = number - 1
        for index, turn in enumerate(self.turns):
            if place < len(turn.images):
                kept = (*turn.images[:place], *images, *turn.images[place + 1 :])
                self.turns[index] = replace(turn, images=kept)
                return
            place -= len(turn.images)
        self.staged[place : place + 1] = images

    # -- turns

    def undo(self) -> Turn:
        """Forget the last question and its answer, images included. Nothing is staged again.

        Raises:
            UsageError: nothing has been asked yet.
        """
        turn = self._last()
        self.turns = self.turns[:-1]
        return turn

    def drop_turn(self, number: int = 1) -> Turn:
        """Forget a question and its answer, images included; 1 is the oldest.

        Raises:
            UsageError: there are not as many.
        """
        if not 1 <= number <= len(self.turns):
            raise UsageError(f"there is no turn {number}: there are {len(self.turns)}")
        turn = self.turns[number - 1]
        self.turns = [*self.turns[: number - 1], *self.turns[number:]]
        return turn

    def clear(self) -> None:
        """Begin anew: no turns, nothing staged. System message and settings stay."""
        self.turns, self.staged, self.last_answer = [], [], None

    def _last(self) -> Turn:
        if not self.turns:
            raise UsageError("nothing has been asked yet")
        return self.turns[-1]

    # -- files

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the dialogue as JSON. Images that are no files of their own are written beside it as PNG.

        Returns:
            The images that were written.

        Raises:
            UsageError: the file exists and is no saved dialogue, or cannot be written.
        """
        return self._saved().write(Path(path))

    def keep(self, path: str | os.PathLike[str]) -> None:
        """Write the dialogue as :meth:`save` does, for this user alone and without copies of images.

        Raises:
            UsageError: it cannot be written.
        """
        files = self.vlm.files
        replace(self._saved(), model_files=(files.model, files.mmproj)).keep(Path(path))

    def _saved(self) -> SavedDialogue:
        return SavedDialogue(
            model=self.vlm.files.name,
            system=self.system,
            settings=self.settings,
            turns=list(self.turns),
            staged=list(self.staged),
            files=dict(self.files),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], vlm: VLM) -> Chat:
        """Read a dialogue that :meth:`save` wrote, for any model.

        An image that is gone or is not the same any more becomes a :class:`MissingImage`: see :attr:`missing`,
        :meth:`replace_image` and :meth:`drop_image`. Nothing can be asked before it is dealt with.

        Raises:
            InputError: the file cannot be read or is no saved dialogue.
        """
        dialogue = read_dialogue(Path(path), vlm.sampling)
        chat = cls(vlm, system=dialogue.system)
        chat.settings = dialogue.settings
        chat.turns, chat.staged, chat.files = dialogue.turns, dialogue.staged, dialogue.files
        return chat


def _question(attached: Sequence[ChatImage], text: str) -> Message:
    images: list[Image] = []
    for one in attached:
        if isinstance(one, MissingImage):
            raise ImageError(
                f"{one.source} of this dialogue is missing: {one.reason}",
                hint="put another in its place (/replace N PATH), or leave it out (/drop N)",
            )
        images.append(one)
    return Message("user", (*_labelled(images), text))


def _labelled(images: Sequence[Image]) -> Iterator[str | Image]:
    """Pages and frames behind their places, as :mod:`ggufvlm.vlm.documents` has them; images as they are."""
    places = [_PLACE.fullmatch(image.source) for image in images]
    names = {place[1] if place else image.source for image, place in zip(images, places, strict=True)}
    for image, place in zip(images, places, strict=True):
        if place is None or len(images) == 1:
            yield image
        else:
            yield from (f"[{place[1]}, {place[2]}]\n" if len(names) > 1 else f"[{place[2]}]\n", image, "\n")
