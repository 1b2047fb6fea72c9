"""A chat in a terminal or a pipe: the dialogue, the model that answers, and how its answers are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import typer

from ggufvlm.chat.kept import Keeper
from ggufvlm.cli.ask.ask import WaysOut, warn_about_end
from ggufvlm.cli.chat import layout as chat_layout
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import leaving_at_once, stopping
from ggufvlm.cli.terminal.thoughts import ThoughtsView
from ggufvlm.errors import ExitCode, GGUFVLMError, UsageError

if TYPE_CHECKING:
    from ggufvlm.chat.chat import Chat
    from ggufvlm.cli.chat.model import ModelLoader
    from ggufvlm.media import Image, ImageSource
    from ggufvlm.vlm.answer import Answer, AnswerStream, PromptSize
    from ggufvlm.vlm.vlm import VLM


_MOST_LINES = 4  # that tell of staged images
_WAYS_OUT = WaysOut(
    max_tokens="/set max_tokens raises the limit",
    context="/drop makes room",
    thoughts="/set think_budget ends thoughts sooner",
    repetition="/set repeat_penalty 1.1 or /set temp 0.7 may help",
)


class Leave(Exception):  # noqa: N818 - not an error
    """The chat is over."""


class MessageSource(Protocol):
    """Where lines come from."""

    is_interactive: bool
    """Whether a person types them."""

    def read(self, default: str, status: Callable[[], list[str]]) -> str:
        """The next message or command.

        Args:
            default: stands in the line already.
            status: what can be shown beside it, the most important first.

        Raises:
            EOFError: there is none.
            KeyboardInterrupt: Ctrl-C. Its argument is what had been typed.
        """

    def choose(self, question: str, keys: str) -> str:
        """One of the letters of ``keys``; the last one if nothing is answered."""

    def refresh(self) -> None:
        """What is shown beside the line has changed. From any thread."""


@dataclass
class ChatSession:
    """What the commands of a chat work on.

    Attributes:
        exit_code: of the process, if nothing is raised.
        keeper: keeps the conversation.
        n_stopped: answers that Ctrl-C stopped.
        shows_thoughts: what the model thinks before it answers is shown.
        typed: a message that was not sent and shall stand in the line again.
    """

    chat: Chat
    loader: ModelLoader
    reader: MessageSource
    output: OutputOptions
    keeper: Keeper = field(default_factory=Keeper)
    exit_code: int = 0
    n_stopped: int = 0
    shows_thoughts: bool = False
    typed: str = ""
    _size: PromptSize | None = None
    _is_computed: bool = False
    _warned: VLM | None = None
    _is_kept: bool = True

    def tell(self, text: str) -> None:
        """A line about the session, on stderr; not for errors."""
        if not self.output.quiet:
            chat_layout.say(text)

    def show(self, text: str) -> None:
        """What a command was asked for, on stderr: stdout is for answers."""
        chat_layout.say(text)

    def wait_until_loaded(self) -> None:
        """Show how far the model is, and wait for it.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        with self.spinning(), leaving_at_once(quiet=self.output.quiet):
            self.chat.vlm.wait_until_loaded()

    def switch(self, name: str) -> None:
        """Let another model answer from now on. If it cannot be loaded, the old one stays.

        Raises: as :func:`find_model` and :meth:`VLM.load`.
        """
        from ggufvlm.models.pairing import check_pair

        old, files = self.chat.vlm, self.loader.find(name)
        check_pair(files.model, files.mmproj, thorough=False, allow_untyped=True)
        old.close()  # first: the memory may not suffice for both
        new = self.loader.begin(files)
        try:
            with self.spinning(), stopping(new.stop_loading):
                new.wait_until_loaded()
            self.chat.vlm = new
        except GGUFVLMError:
            new.close()
            self.chat.vlm = self.loader.begin(old.files)
            raise
        finally:
            self.changed()

    def answer(self, start: Callable[[], AnswerStream], prompt: str) -> bool:
        """Show an answer as it comes; Ctrl-C ends it and keeps what was said. False if that is nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C in a script.
            GGUFVLMError: there is no answer.
        """
        with self.spinning() as spinner, console.silent_keyboard():
            interruption = _Interruption()
            with stopping(interruption.stop):
                stream = start()
                self._warn(spinner)
                interruption.watch(stream)
                thoughts = ThoughtsView(self.output, spinner, is_shown=self.shows_thoughts)
                self._show(console.after_spinner(thoughts.before(stream), spinner))
        self.changed()
        self._is_computed = not self.chat.staged
        self._tell_end(stream.answer, prompt)
        self._keep()
        if interruption.happened:
            self.n_stopped += 1
            if not self.reader.is_interactive:
                raise KeyboardInterrupt
        return bool(stream.answer.text) or stream.answer.finish_reason != "abort"

    def _warn(self, spinner: console.Spinner) -> None:
        """What is to be known of a model, once, when it has begun to answer."""
        vlm = self.chat.vlm
        if self._warned is not vlm and not self.output.quiet:
            for text in vlm.handler.warnings:
                spinner.say(f"warning: {text}")
        self._warned = vlm

    def _keep(self) -> None:
        if not self._is_kept:
            return
        try:
            self.keeper.keep(self.chat)
        except UsageError as error:
            self._is_kept = False
            self.tell(f"note: this conversation is not kept: {error}")

    def _show(self, pieces: Iterator[str]) -> None:
        if self.output.json:
            for _ in pieces:
                pass
            return
        console.show_answer(pieces, self.output)

    def _tell_end(self, answer: Answer, prompt: str) -> None:
        if self.output.json:
            turn = {"turn": len(self.chat.turns), "prompt": prompt, **answer.to_dict()}
            typer.echo(json.dumps(turn, ensure_ascii=False))
        if self.output.stats:
            console.show_stats(answer, self.output)
        warn_about_end(answer, self.output, ways_out=_WAYS_OUT)
        if not answer.text and answer.finish_reason == "stop":
            self.tell("note: the model ended its answer without a word")
        if answer.finish_reason == "repetition" and not self.reader.is_interactive:
            self.exit_code = ExitCode.CUT_BY_GUARD
        if self.reader.is_interactive and sys.stdout.isatty() and not self.output.json:
            typer.echo()

    @contextmanager
    def spinning(self) -> Iterator[console.Spinner]:
        """Within this block a line tells what the engine is doing, if it takes a while."""
        with console.Spinner(self.output) as spinner:
            self.loader.spinner = spinner
            try:
                yield spinner
            finally:
                self.loader.spinner = None

    # -- the status line

    def changed(self) -> None:
        """The dialogue is another one: what is known of its size and what is computed is not true any more."""
        self._size, self._is_computed = None, False

    @property
    def size(self) -> PromptSize | None:
        """What the dialogue takes of the context; None while that cannot be known."""
        if self._size is None and self.loader.is_loaded and not self.chat.missing:
            try:
                self.chat.vlm.stop_preparing()  # it would have to be waited for
                self._size = self.chat.measure()
            except GGUFVLMError:
                return None
        return self._size

    def prepare(self) -> None:
        """Compute what is new, images above all, while the next question is being typed."""
        if self.size is not None and not self._is_computed:
            self._is_computed = True
            self.chat.prepare()

    def close(self) -> None:
        """Free the model."""
        self.loader.on_change = lambda: None
        self.chat.vlm.close()

    def status(self) -> list[str]:
        """Model, images, context: the most important first. Asked for when a line is about to be typed."""
        self.prepare()
        chat = self.chat
        name = chat.vlm.files.name
        state = ": cannot be loaded" if self.loader.has_failed else f": loading, {self.loader.share:.0%}"
        parts = [name + ("" if self.loader.is_loaded else state)]
        if self.size is not None:
            parts.append(f"{self.size.total} of {self.size.limit} tokens")
        staged, missing = len(chat.staged), len(chat.missing)
        more = ", ".join(f"{n} {what}" for n, what in ((staged, "staged"), (missing, "missing")) if n)
        parts.append(counted(len(chat.images), "image") + (f" ({more})" if more else ""))
        return parts

    def name_image(self, number: int) -> str:
        """An image for people."""
        return f"image {number} ({self.chat.image(number).source})"

    def stage(self, *sources: ImageSource) -> tuple[Image, ...]:
        """Stage images and say so, one line each; of many, one line in all.

        Raises:
            ImageError: one cannot be read; none is staged then.
        """
        n_before = len(self.chat.images)
        images = self.chat.stage(*sources)
        self.changed()
        if len(images) > _MOST_LINES:
            first, last = images[0].source, images[-1].source
            self.tell(f"staged images {n_before + 1} to {n_before + len(images)}: {first} to {last}")
            return images
        for number, image in enumerate(images, n_before + 1):
            self.tell(f"staged image {number}: {image.source}, {image.width}x{image.height}")
        return images


class _Interruption:
    """Ctrl-C may come before there is a stream to stop."""

    def __init__(self) -> None:
        self.happened = False
        self._stream: AnswerStream | None = None

    def stop(self) -> None:
        self.happened = True
        if self._stream is not None:
            self._stream.abort()

    def watch(self, stream: AnswerStream) -> None:
        self._stream = stream
        if self.happened:
            stream.abort()


def counted(number: int, what: str) -> str:
    """``1 image``, ``2 images``, ``no images``."""
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
