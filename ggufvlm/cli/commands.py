"""The subcommands of ``ggufvlm``, in the order of its help; each is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import typer
from typer.main import get_command

from ggufvlm.cli.terminal.interruption import Interrupted, leaving_at_once, wants_quiet
from ggufvlm.cli.usage.command import Group, build

COMMANDS = {
    "describe": ("ask.describe:describe", "Ask about images, pages of a PDF, frames of a video."),
    "chat": ("chat.command:chat", "Talk about images: a dialogue that keeps its images."),
    "batch": ("batch.command:batch", "Ask about many images, and write a row for each."),
    "detect": ("detect.command:detect", "Find objects in images: boxes in pixels."),
    "classify": ("ask.classify:classify", "Tell which class an image belongs to, with probabilities."),
    "ocr": ("ask.ocr:ocr", "Read the text of images and PDFs, as text or Markdown."),
    "compare": ("ask.compare:compare", "Ask several models the same question, side by side."),
    "alt": ("ask.alt:alt", "Write alternative texts for images that have none."),
    "serve": ("serve.command:serve", "Answer clients of OpenAI and Ollama over HTTP."),
    "demo": ("ask.demo:demo", "Ask the built-in model about a built-in image, offline."),
    "doctor": ("tools.doctor:doctor", "Show what this machine can do, and what to mend."),
    "bench": ("tools.bench:bench", "Measure how fast this machine runs a model."),
    "quantize": ("tools.quantize:quantize", "Make a smaller file of a model or of its projector."),
    "pull": ("models.pull:pull", "Download a model and its projector, or what is missing."),
    "list": ("models.list_models:list_models", "List the models on this machine."),
    "use": ("models.use:use", "Show or set the model that is asked where none is named."),
    "show": ("models.show:show", "Show what is known of a model, and whether its parts fit."),
    "rm": ("models.rm:rm", "Remove a model from this machine."),
    "verify": ("models.verify:verify", "Compare the checksums of a model on this machine."),
    "help": ("tools.guide:show_help", "Show a page of the guide, or what a command takes."),
    "version": ("tools.guide:show_version", "Show the version."),
    "cache": ("models.cache:app", "Show what earlier runs have kept on disk, and clear it."),
}
"""Name -> module and function below ``ggufvlm.cli``, and its line in ``ggufvlm --help``."""


class _LazyCommands(Mapping[str, Any]):
    """The commands by name; one is imported and built when it is asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module, _, function = COMMANDS[name][0].partition(":")
            with leaving_at_once(quiet=wants_quiet()):
                command = getattr(import_module(f"ggufvlm.cli.{module}"), function)
            self._built[name] = _build(name, command)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _build(name: str, command: typer.Typer | Callable[..., None]) -> Any:
    if isinstance(command, typer.Typer):  # a group with commands of its own
        return get_command(command)
    return build(name, command)


def _is_there(argument: str) -> bool:
    """Whether it is a URL, or a file that exists."""
    try:
        return argument.startswith(("http://", "https://", "file://")) or Path(argument).is_file()
    except (OSError, ValueError):  # no possible name of a file
        return False


class LazyGroup(Group):
    """A group that knows its commands by name and help line alone, until one of them is used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast(Any, _LazyCommands())

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run a command.

        Raises:
            Interrupted: Ctrl-C ended it; Typer would leave without a word.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that the first argument names; an image in its place is to be described.

        Raises:
            UsageError: it is neither.
        """
        if args[0] not in COMMANDS and _is_there(args[0]):
            return "describe", self.commands["describe"], args
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])
