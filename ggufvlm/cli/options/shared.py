"""Options that several commands share, as groups: a command names a group and gets an instance of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

import typer

from ggufvlm.cli.usage.complete import model_names, projector_names
from ggufvlm.config import EngineConfig, SamplingSettings, settings_in
from ggufvlm.errors import UsageError
from ggufvlm.files import expanded, read_text

ASSUME_YES = "GGUFVLM_ASSUME_YES"


class Switch(str, Enum):
    """Three ways to set a thing."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class KVType(str, Enum):
    """Element types of the KV cache."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_0 = "q4_0"


def option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **more)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model."""

    panel: ClassVar[str] = "Model"

    model: Annotated[
        str | None,
        option(
            "-m",
            "--model",
            help="A name such as qwen2-vl-2b:Q8_0, USER/REPO[:QUANT], FILE.gguf. "
            "[env: GGUFVLM_MODEL] [default: {default_model}]",
            metavar="MODEL",
            autocompletion=model_names,
        ),
    ] = None
    mmproj: Annotated[
        Path | None,
        option(
            "--mmproj",
            help="Projector file, if it is not the one beside the model.",
            metavar="FILE",
            autocompletion=projector_names,
        ),
    ] = None
    raw: Annotated[bool, option("--raw", help="No chat template: for base models.")] = False
    yes: Annotated[bool, option("-y", "--yes", help="Download a missing model without asking.", envvar=ASSUME_YES)] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """What is asked."""

    panel: ClassVar[str] = "Question"

    prompt: Annotated[
        str | None,
        option("-p", "--prompt", help="The question, or @FILE to read it from; @- is stdin.", metavar="TEXT|@FILE"),
    ] = None
    system: Annotated[str | None, option("-s", "--system", help="System message, or @FILE.", metavar="TEXT|@FILE")] = (
        None
    )
    prefill: Annotated[str, option("--prefill", help="The answer starts with this text.", metavar="TEXT")] = ""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How the answer is made; what is not given is the model's own default."""

    panel: ClassVar[str] = "Sampling"

    max_tokens: Annotated[
        int | None, option("-n", "--max-tokens", help="Longest answer, in tokens; -1 for no limit. [4096]")
    ] = None
    temperature: Annotated[
        float | None, option("--temp", "--temperature", help="0 always takes the most probable token.")
    ] = None
    top_k: Annotated[int | None, option("--top-k", help="Choose among this many tokens; 0 for all.")] = None
    top_p: Annotated[float | None, option("--top-p", help="Choose among the tokens that reach this probability.")] = (
        None
    )
    min_p: Annotated[
        float | None, option("--min-p", help="Drop tokens below this fraction of the most probable one.")
    ] = None
    repeat_penalty: Annotated[float | None, option("--repeat-penalty", help="Above 1: less repetition.")] = None
    seed: Annotated[int | None, option("--seed", help="The same seed gives the same answer.")] = None
    stop: Annotated[list[str] | None, option("--stop", help="End the answer at this text; may be repeated.")] = None
    think: Annotated[
        bool | None,
        option("--think/--no-think", help="Let the model think before it answers, where it can choose. [off]"),
    ] = None
    think_budget: Annotated[
        int | None,
        option("--think-budget", help="Longest thought, in tokens; then the answer begins. [4096]", metavar="N"),
    ] = None
    no_repetition_guard: Annotated[
        bool, option("--no-repetition-guard", help="Let an answer run on when it is caught in a loop.")
    ] = False

    def settings(self) -> SamplingSettings:
        """The settings that were given."""
        settings = settings_in(self)
        settings["stop"] = tuple(self.stop or ())
        if not self.stop:
            del settings["stop"]
        if self.no_repetition_guard:
            settings["repetition_guard"] = False
        return settings


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Where and how large."""

    panel: ClassVar[str] = "Hardware"

    ctx_size: Annotated[
        int | None, option("-c", "--ctx-size", help="Context, in tokens. [grows with the prompt and the answer]")
    ] = None
    threads: Annotated[int | None, option("-t", "--threads", help="CPU threads. [physical cores]")] = None
    n_gpu_layers: Annotated[
        str,
        option(
            "-ngl", "--n-gpu-layers", help="Layers on the GPU: auto, all, or a number. [auto]", metavar="auto|all|N"
        ),
    ] = "auto"
    no_mmproj_offload: Annotated[bool, option("--no-mmproj-offload", help="Keep the projector on the CPU.")] = False
    flash_attn: Annotated[Switch, option("-fa", "--flash-attn", help="Flash attention. [auto]")] = Switch.AUTO
    cache_type_k: Annotated[KVType, option("-ctk", "--cache-type-k", help="KV cache type of keys. [f16]")] = KVType.F16
    cache_type_v: Annotated[KVType, option("-ctv", "--cache-type-v", help="KV cache type of values. [f16]")] = (
        KVType.F16
    )
    image_min_tokens: Annotated[
        int | None, option("--image-min-tokens", help="Enlarge an image until it takes this many tokens.")
    ] = None
    image_max_tokens: Annotated[
        int | None,
        option("--image-max-tokens", help="Shrink an image to this many tokens. More see more and take longer. [1024]"),
    ] = None

    no_cache: Annotated[
        bool, option("--no-cache", help="Neither read nor write what earlier runs computed about images.")
    ] = False

    def config(self) -> EngineConfig:
        """The engine's settings.

        Raises:
            UsageError: one of them makes no sense.
        """
        return EngineConfig(
            n_ctx=self.ctx_size,
            n_threads=self.threads,
            n_gpu_layers=self._layers(),
            mmproj_offload=not self.no_mmproj_offload,
            flash_attention=self.flash_attn.value,
            cache_type_k=self.cache_type_k.value,
            cache_type_v=self.cache_type_v.value,
            image_min_tokens=self.image_min_tokens,
            image_max_tokens=self.image_max_tokens,
            use_cache=not self.no_cache,
        )

    def _layers(self) -> int | None:
        if self.n_gpu_layers == "auto":
            return None
        if self.n_gpu_layers == "all":
            return -1
        if self.n_gpu_layers.isdecimal():
            return int(self.n_gpu_layers)
        raise UsageError(f"-ngl takes auto, all or a number, not {self.n_gpu_layers!r}")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is shown."""

    panel: ClassVar[str] = "Output"

    json: Annotated[bool, option("--json", help="One JSON object with the answer and its numbers.")] = False
    stats: Annotated[bool, option("--stats", help="What the model saw, token counts and times, on stderr.")] = False
    no_stream: Annotated[bool, option("--no-stream", help="Show the answer when it is complete.")] = False
    quiet: Annotated[bool, option("-q", "--quiet", help="No progress and no warnings.")] = False
    debug: Annotated[bool, option("--debug", help="llama.cpp's messages, and tracebacks of errors.")] = False
    color: Annotated[Switch, option("--color", help="Colours and rendered Markdown. [auto]")] = Switch.AUTO


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(OutputOptions):
    """What is shown of one answer."""

    show_thinking: Annotated[
        bool, option("--show-thinking", help="What the model thinks before it answers, on stderr.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """What is said meanwhile, for commands that show no answer piece by piece."""

    panel: ClassVar[str] = "Output"

    quiet: Annotated[bool, option("-q", "--quiet", help="No progress and no warnings.")] = False
    debug: Annotated[bool, option("--debug", help="llama.cpp's messages, and tracebacks of errors.")] = False
    color: Annotated[Switch, option("--color", help="Colours and a progress bar. [auto]")] = Switch.AUTO

    def output(self) -> OutputOptions:
        """As other commands have it."""
        return OutputOptions(quiet=self.quiet, debug=self.debug, color=self.color)


@functools.cache
def _hints_of(group: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(group, include_extras=True)  # evaluates texts, and most commands share groups
    for item in fields(group):
        for note in hints[item.name].__metadata__:
            note.rich_help_panel = group.panel
    return hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter whose type is an options group into the options of that group."""
    hints = inspect.get_annotations(
        command, eval_str=True
    )  # get_type_hints of Python 3.10 hides options behind Optional
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters, annotations = [], {}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            annotations[parameter.name] = hints[parameter.name]
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        group = groups[parameter.name]
        of_group = _hints_of(group)
        for item in fields(group):
            annotations[item.name] = of_group[item.name]
            parameters.append(
                inspect.Parameter(
                    item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=of_group[item.name]
                )
            )

    @functools.wraps(command)
    def with_groups(**given: Any) -> None:
        made = {
            name: group(**{item.name: given.pop(item.name) for item in fields(group)}) for name, group in groups.items()
        }
        command(**given, **made)

    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = annotations
    return with_groups


def text_or_file(value: str, *, quiet: bool = False) -> str:
    """The text itself, or the contents of ``@FILE``, or of stdin for ``@-``, without the last line break.

    Raises:
        InputError: the file cannot be read.
    """
    if not value.startswith("@"):
        return value
    if value == "@-":
        from ggufvlm.cli.options.stdin_text import read_stdin

        return read_stdin(quiet=quiet)
    return read_text(expanded(value[1:])).replace("\r\n", "\n").removesuffix("\n")
