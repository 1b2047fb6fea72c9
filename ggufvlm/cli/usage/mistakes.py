"""What is wrong with a command line, in our words: the thing is named, and what was probably meant."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from ggufvlm.cli.usage.help_page import split_examples
from ggufvlm.errors import UsageError

_COMMANDS_ELSEWHERE = {
    "ask": "describe",
    "caption": "describe",
    "query": "describe",
    "run": "chat",
    "ls": "list",
    "models": "list",
    "ps": "list",
    "download": "pull",
    "get": "pull",
    "install": "pull",
    "remove": "rm",
    "delete": "rm",
    "uninstall": "rm",
    "info": "show",
    "inspect": "show",
    "default": "use",
    "config": "use",
    "server": "serve",
    "start": "serve",
    "benchmark": "bench",
    "check": "doctor",
    "completion": "--install-completion",
}
"""What Ollama, llm, hf and others call a command of ours."""

_OPTIONS_ELSEWHERE = {
    "--n-predict": "--max-tokens",
    "--max-new-tokens": "--max-tokens",
    "--num-predict": "--max-tokens",
    "--predict": "--max-tokens",
    "--ctx": "--ctx-size",
    "--num-ctx": "--ctx-size",
    "--context": "--ctx-size",
    "--n-ctx": "--ctx-size",
    "--gpu-layers": "--n-gpu-layers",
    "--ngl": "--n-gpu-layers",
    "--num-gpu": "--n-gpu-layers",
    "--question": "--prompt",
    "--hf-repo": "--model",
    "-hf": "--model",
    "--out": "--output",
    "--verbose": "--debug",
    "-v": "--debug",
    "--silent": "--quiet",
    "--system-prompt": "--system",
    "--json-schema": "--schema",
    "--projector": "--mmproj",
}
"""What llama.cpp, Ollama and Transformers call an option of ours."""


def our_error(error: Any, command: Any, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    """An error of Typer in our words.

    Args:
        error: of Typer.
        command: whose arguments are wrong.
        context: of the command.
        arguments: what was given.
    """
    param, option = getattr(error, "param", None), getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _unknown_option(option, command, context, arguments)
    if option is not None:
        known = next((p for p in command.get_params(context) if option in (*p.opts, *p.secondary_opts)), None)
        if known is None or known.is_flag:
            return UsageError(f"{option} takes no value", hint=_more(context))
        return UsageError(f"{option} needs a value: {option} {known.metavar}", hint=_more(context))
    if param is not None and hasattr(error, "param_type"):
        return _missing(param, command, context)
    if param is not None:
        return _wrong_value(error, param, command, context, arguments)
    return UsageError(error.format_message(), hint=_more(context))


def unknown_command(arguments: Sequence[str], group: Any, context: typer.Context) -> UsageError:
    """There is no command of this name."""
    name = arguments[0]
    known = list(group.commands)
    meant = _COMMANDS_ELSEWHERE.get(name.lower(), "")
    found = [meant] if meant in known or meant.startswith("-") else _close(name, known)
    if found:
        return UsageError(f"unknown command: {name}", hint=f"did you mean {context.command_path} {found[0]}?")
    if context.parent is None and Path(name).is_dir():
        hint = f'{context.command_path} batch {name} -p "..." -o answers.jsonl asks about each image in it'
        return UsageError(f"unknown command: {name}, which is a folder", hint=hint)
    what = "command and no such file" if Path(name).suffix or "/" in name else "command"
    return UsageError(f"no such {what}: {name}", hint=f"{context.command_path} -h lists the commands")


def too_many(rest: Sequence[str], command: Any, context: typer.Context) -> UsageError:
    """Arguments that the command has no place for."""
    has_model = any("--model" in param.opts for param in command.params)
    takes = " ".join(param.metavar for param in command.params if param.param_type_name == "argument")
    names = ", ".join(rest[:3]) + (" and more" if rest[3:] else "")
    hint = f"{context.command_path} -m {rest[0]}, if it is a model" if has_model and not takes else _more(context)
    return UsageError(f"{context.info_name} takes {takes or 'no argument'}, and not: {names}", hint=hint)


def _unknown_option(option: str, command: Any, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    known = [name for param in command.get_params(context) for name in (*param.opts, *param.secondary_opts)]
    if option == "--image" and hasattr(command, "params") and not hasattr(command, "commands"):
        return UsageError("unknown option: --image", hint="no option for images: " + _example(command, context))
    plain = option.lower().replace("_", "-")
    meant = _OPTIONS_ELSEWHERE.get(plain, plain)
    found = [meant] if meant in known else _close(plain, known)
    if found:
        return UsageError(f"unknown option: {option}", hint=f"did you mean {found[0]}?")
    if context.parent is None:
        hint = f"options stand behind a command: {context.command_path} describe -h"
        return UsageError(f"unknown option: {option}", hint=hint)
    return UsageError(f"unknown option: {option}", hint=_more(context))


def _missing(param: Any, command: Any, context: typer.Context) -> UsageError:
    is_option = param.param_type_name == "option"
    name = param.opts[-1] if is_option else str(param.metavar).split()[0].rstrip(".")
    return UsageError(f"{context.info_name}: {name} is missing", hint=_example(command, context))


def _wrong_value(error: Any, param: Any, command: Any, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    value, name = _given(param, command, context, arguments)
    metavar = str(param.metavar)
    choices = metavar.split("|")
    if value is None:
        return UsageError(error.format_message(), hint=_more(context))
    if metavar in ("N", "X"):
        return UsageError(f"{name} takes {_number(metavar, param, value)}, not {value}")
    if len(choices) > 1:
        close = _close(value, choices)
        hint = f"did you mean {close[0]}?" if close else None
        return UsageError(f"{name} takes {', '.join(choices[:-1])} or {choices[-1]}, not {value}", hint=hint)
    return UsageError(f"{name} {value}: {error.message}", hint=_more(context))


def _number(metavar: str, param: Any, value: str) -> str:
    """What numbers the option takes; its bounds only where the value is a number at all."""
    try:
        int(value) if metavar == "N" else float(value)
    except ValueError:
        return "a whole number" if metavar == "N" else "a number"
    bounds = param if hasattr(param, "min") else getattr(param, "type", None)  # where Typer before 0.28 has them
    low, high = getattr(bounds, "min", None), getattr(bounds, "max", None)
    if low is not None and high is not None:
        return f"a number from {low} to {high}"
    return f"a number from {low} on" if low is not None else f"a number up to {high}"


def _given(param: Any, command: Any, context: typer.Context, arguments: Sequence[str]) -> tuple[str | None, str]:
    """The value as it was written, and by which name it was given: an option or a variable."""
    values, _, _ = command.make_parser(context).parse_args(list(arguments))
    value = values.get(param.name)
    if value is None and isinstance(param.envvar, str):
        return os.environ.get(param.envvar), param.envvar
    if isinstance(value, list | tuple):
        value = " ".join(value)
    typed = [word.partition("=")[0] for word in arguments]
    return value, next((name for name in param.opts if name in typed), param.opts[-1])


def _close(name: str, known: Iterable[str]) -> list[str]:
    names = sorted(known, key=len)
    begun = [item for item in names if len(name.strip("-")) > 1 and item.startswith(name)]
    return begun or get_close_matches(name, names, n=1, cutoff=0.7)


def _example(command: Any, context: typer.Context) -> str:
    examples = split_examples(command.help or "")[1]
    return examples[0] if examples else _more(context)


def _more(context: typer.Context) -> str:
    return f"{context.command_path} -h shows what there is"
