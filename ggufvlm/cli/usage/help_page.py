"""The help of a command: what it does, examples, and its options in panels."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from ggufvlm.errors import UsageError

PANELS = (
    "Options",
    "Inputs",
    "Question",
    "Reading",
    "Model",
    "Answer's shape",
    "Documents and video",
    "Sampling",
    "Hardware",
    "Memory",
    "Limits",
    "Access",
    "Run",
    "Sidecars and metadata",
    "Output",
)
"""Headings of options, in the order of the help; options without a heading come first."""

DEFAULT_MODEL = "{default_model}"
"""In the help of an option: the model that is asked where none is named."""

_PROGRAM = "ggufvlm "


def write(command: Any, context: typer.Context, formatter: Any) -> None:
    """Write the help of a command or group.

    Args:
        command: of Typer.
        context: of the command.
        formatter: of Typer, which breaks lines.
    """
    formatter.write_usage(context.command_path, " ".join(_usage(command)))
    prose, examples = split_examples(command.help or "")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(prose)
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in examples))
    arguments = [p for p in command.params if p.param_type_name == "argument" and p.help]
    if arguments:
        with formatter.section("Arguments"):
            formatter.write_dl([(p.metavar, p.help) for p in arguments])
    _write_options(command, context, formatter)
    if hasattr(command, "format_commands"):
        command.format_commands(context, formatter)


def split_examples(text: str) -> tuple[str, list[str]]:
    """A docstring as its prose and the command lines in it, which are paragraphs of their own."""
    prose, examples = [], []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if all(line.startswith(_PROGRAM) for line in lines):
            examples += lines
        else:
            prose.append(paragraph)
    return "\n\n".join(prose), examples


def _usage(command: Any) -> list[str]:
    pieces = [str(param.metavar) for param in command.params if param.param_type_name == "argument"]
    if hasattr(command, "commands"):
        pieces.append("COMMAND ...")
    return ["[OPTIONS]", *pieces]


def _write_options(command: Any, context: typer.Context, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        if param.param_type_name == "option" and not param.hidden:
            title = "Output" if "--help" in param.opts and "Output" in panels else param.rich_help_panel
            panels.setdefault(title or "Options", []).append((_names(param), _text(param)))
    for title in sorted(panels, key=PANELS.index):
        with formatter.section(title):
            formatter.write_dl(panels[title])


def _names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=lambda name: name.startswith("--")))
    both = " / ".join([names, *option.secondary_opts])
    return both if option.is_flag else f"{both} {option.metavar}"


def _text(option: Any) -> str:
    text = option.help or ""
    if DEFAULT_MODEL in text:
        text = text.replace(DEFAULT_MODEL, _default_model())
    return f"{text} [env: {option.envvar}]" if option.envvar else text


def _default_model() -> str:
    from ggufvlm.models.resolve import default_model

    try:
        return default_model()
    except UsageError:
        return "see `ggufvlm use`"
