"""Settings of the engine and of sampling: frozen, validated when made, free of llama.cpp."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast, get_args

from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.constraints.constraint import Constraint

FlashAttention = Literal["auto", "on", "off"]
Priority = Literal["latency", "throughput"]
MAX_SLOTS = 256  # llama.cpp's LLAMA_MAX_SEQ
MAX_THREADS = 512  # ggml's GGML_MAX_N_THREADS: far more of them end the process
MAX_LOGPROBS = 100
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]


_LARGEST = 2**31 - 1  # llama.cpp counts in 32 bits, and ctypes would cut off the rest without a word
_GREEDY_BELOW = 1e-6  # logits over less are beyond 32-bit floats, and the answer would be random text


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _settle_whole(settings: object, *names: str, or_none: tuple[str, ...] = ()) -> None:
    """Make these fields ints, if they are whole numbers of any kind; some may be ``None``."""
    for name in (*names, *or_none):
        value = getattr(settings, name)
        if value is None and name in or_none:
            continue
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        _require(is_whole, f"{name} must be a whole number, not {value!r:.80}")
        _require(abs(int(value)) <= _LARGEST or name == "seed", f"{name} must lie below 2**31: {int(value):.3g}")
        object.__setattr__(settings, name, int(value))


def _settle_real(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        _require(is_number, f"{name} must be a number, not {value!r:.80}")
        _require(abs(value) <= _LARGEST and math.isfinite(value), f"{name} must be a finite number below 2**31")
        object.__setattr__(settings, name, float(value))


def _require_switches(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(isinstance(value, bool), f"{name} must be True or False, not {value!r:.80}")


def _require_words(settings: object, **words: tuple[str, ...]) -> None:
    for name, known in words.items():
        value = getattr(settings, name)
        _require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r:.80}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """How the engine runs a model. ``None`` means: chosen from the prompt, the model and the machine.

    Attributes:
        n_ctx: context size in cells (tokens). ``None`` starts small and grows as far as the model was trained for.
        n_batch: tokens per ``llama_decode`` call; also how much prefill passes between two looks at Ctrl-C.
        n_ubatch: tokens computed at once.
        n_threads: CPU threads.
        n_gpu_layers: layers on the GPU; -1 is all of them, ``None`` as many as fit.
        mmproj_offload: whether the projector runs on the GPU when there is one.
        flash_attention: "auto" lets llama.cpp probe the device.
        cache_type_k, cache_type_v: element type of the KV cache.
        image_min_tokens, image_max_tokens: budget of one image, in tokens, for models that resize freely.
        n_slots: answers that are made at the same time.
        priority: with several slots, whether running answers keep moving while a prompt is read ("latency"), or
            prompts are read first so that more answers share each step ("throughput").
        use_cache: keep projector output and KV snapshots on disk, for later processes.
    """

    n_ctx: int | None = None
    n_batch: int = 512
    n_ubatch: int = 512
    n_threads: int | None = None
    n_gpu_layers: int | None = None
    mmproj_offload: bool = True
    flash_attention: FlashAttention = "auto"
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    image_min_tokens: int | None = None
    image_max_tokens: int | None = None
    n_slots: int = 1
    priority: Priority = "latency"
    use_cache: bool = True

    def __post_init__(self) -> None:
        chosen = ("n_ctx", "n_threads", "n_gpu_layers", "image_min_tokens", "image_max_tokens")
        _settle_whole(self, "n_batch", "n_ubatch", "n_slots", or_none=chosen)
        _require_switches(self, "mmproj_offload", "use_cache")
        caches = get_args(CacheType)
        _require_words(self, flash_attention=get_args(FlashAttention), cache_type_k=caches, cache_type_v=caches)
        _require_words(self, priority=get_args(Priority))
        _require(self.n_ctx is None or self.n_ctx > 0, f"the context size must be positive, not {self.n_ctx}")
        _require(1 <= self.n_ubatch <= self.n_batch, "n_ubatch must lie between 1 and n_batch")
        threads = self.n_threads
        _require(threads is None or 0 < threads <= MAX_THREADS, f"threads: 1 to {MAX_THREADS}, not {threads}")
        _require(1 <= self.n_slots <= MAX_SLOTS, f"slots must lie between 1 and {MAX_SLOTS}, not {self.n_slots}")
        layers = self.n_gpu_layers
        _require(layers is None or layers >= -1, f"GPU layers must be -1 (all) or a count, not {layers}")
        low, high = self.image_min_tokens, self.image_max_tokens
        _require(low is None or low > 0, f"image tokens must be positive, not {low}")
        _require(high is None or high > 0, f"image tokens must be positive, not {high}")
        _require(low is None or high is None or low <= high, f"image tokens: the minimum {low} is above {high}")
        _require(
            self.flash_attention != "off" or self.cache_type_v in ("f32", "f16", "bf16"),
            f"a {self.cache_type_v} value cache needs flash attention",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingParams:
    """How the next token is chosen and when the answer ends.

    Attributes:
        max_tokens: longest answer in tokens; -1 is as long as the context allows.
        temperature: 0 takes the most probable token each time.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the smallest set whose probabilities reach p; 1 keeps all, 0 the most probable one.
        min_p: drop tokens below this fraction of the most probable one; 0 keeps all.
        repeat_penalty: divide the logits of recent tokens by this; 1 is off.
        frequency_penalty, presence_penalty: subtract from the logits of recent tokens; 0 is off.
        penalty_last_n: how many recent tokens the penalties look at; -1 is the whole answer.
        seed: ``None`` draws a new one for each answer.
        stop: strings that end the answer; they are not part of it.
        repetition_guard: end an answer that is caught in a loop.
        constraint: what the answer has to look like: only tokens that keep to it are chosen.
        logprobs: note the log-probability of each token of the answer, and of this many of the most probable ones in
            its place. They are the model's own: before temperature, penalties and constraint.
        show_special: control tokens become text of the answer, such as the box tokens of some models.
        ignore_eos: the token that ends an answer ends nothing, so that each run of a measurement does the same work.
        think: whether the model thinks before it answers; ``None``: only where it always does.
        think_budget: longest thought in tokens, besides ``max_tokens``; then the answer begins. -1 sets no limit.
        template_variables: what the model's chat template is told besides (``chat_template_kwargs`` of other programs).
        limits_thoughts: ``max_tokens`` is the limit of thoughts and answer together.
    """

    max_tokens: int = 4096
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    seed: int | None = None
    stop: tuple[str, ...] = ()
    repetition_guard: bool = True
    constraint: Constraint | None = None
    logprobs: int | None = None
    show_special: bool = False
    ignore_eos: bool = False
    think: bool | None = None
    think_budget: int = 4096
    limits_thoughts: bool = False
    template_variables: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _settle_whole(self, "max_tokens", "top_k", "penalty_last_n", "think_budget", or_none=("seed", "logprobs"))
        _settle_real(self, "temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty")
        _require_switches(self, "repetition_guard", "show_special", "ignore_eos", "limits_thoughts")
        is_switch = self.think is None or isinstance(self.think, bool)
        _require(is_switch, f"think must be True, False or None, not {self.think!r:.80}")
        _require(self.think_budget >= -1, f"the budget of thoughts must be -1 or a count: {self.think_budget}")
        variables = self.template_variables
        are_named = isinstance(variables, Mapping) and all(isinstance(name, str) for name in variables)
        _require(variables is None or are_named, f"template_variables must be a mapping of names: {variables!r:.80}")
        object.__setattr__(self, "stop", _texts(self.stop))
        if self.constraint is not None:
            from ggufvlm.constraints.constraint import Constraint

            if not isinstance(self.constraint, Constraint):
                raise _no_constraint(self.constraint)
            in_the_way = [
                text for text in self.stop if text and self.constraint.kind == "json_schema" and _is_json(text)
            ]
            _require(not in_the_way, f"the stop string {next(iter(in_the_way), '')!r} would end JSON in the middle")
        _require(self.max_tokens == -1 or self.max_tokens > 0, f"max tokens must be positive, not {self.max_tokens}")
        _require(self.temperature >= 0, f"temperature must not be negative: {self.temperature}")
        _require(self.top_k >= 0, f"top-k must not be negative: {self.top_k}")
        _require(0 <= self.top_p <= 1, f"top-p must lie between 0 and 1: {self.top_p}")
        _require(0 <= self.min_p <= 1, f"min-p must lie between 0 and 1: {self.min_p}")
        if self.temperature < _GREEDY_BELOW:
            object.__setattr__(self, "temperature", 0.0)
        penalty = self.repeat_penalty
        _require(0.01 <= penalty <= 100, f"the repeat penalty must lie between 0.01 and 100: {penalty}")
        _require(self.penalty_last_n >= -1, f"penalty_last_n must be -1 or a count: {self.penalty_last_n}")
        # the largest 32-bit number means "draw one" to llama.cpp
        _require(self.seed is None or 0 <= self.seed < 2**32 - 1, f"the seed must lie below 2**32 - 1: {self.seed}")
        _require(all(self.stop), "a stop string must not be empty")
        n = self.logprobs
        _require(n is None or 0 <= n <= MAX_LOGPROBS, f"logprobs must lie between 0 and {MAX_LOGPROBS}, not {n}")

    @property
    def has_penalties(self) -> bool:
        """Whether recent tokens change the choice."""
        penalties = (self.repeat_penalty, self.frequency_penalty, self.presence_penalty)
        return penalties != (1.0, 0.0, 0.0) and self.penalty_last_n != 0


def _no_constraint(given: object) -> UsageError:
    """What to do with a schema that is no constraint yet."""
    name = getattr(given, "__name__", None) if isinstance(given, type) else None
    kind = f"the class {name}" if name else f"{given!r:.80}"
    hint = (
        f"schema={name or '...'} gives the answer a value; Constraint.from_schema({name or '...'}) makes a constraint"
    )
    return UsageError(f"constraint takes a Constraint, not {kind}", hint=hint)


def _is_json(text: str) -> bool:
    return set(text) <= set('{}[]":,')


def _texts(stop: object) -> tuple[str, ...]:
    """One stop string, or several."""
    texts = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, Iterable) else (stop,)
    _require(all(isinstance(text, str) for text in texts), f"stop strings must be texts: {stop!r:.80}")
    return cast("tuple[str, ...]", texts)


class SamplingSettings(TypedDict, total=False):
    """The fields of :class:`SamplingParams`, for functions that take some of them by name."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_last_n: int
    seed: int | None
    stop: tuple[str, ...]
    repetition_guard: bool
    constraint: Constraint | None
    logprobs: int | None
    show_special: bool
    ignore_eos: bool
    think: bool | None
    think_budget: int
    limits_thoughts: bool
    template_variables: Mapping[str, Any] | None


def with_settings(sampling: SamplingParams, settings: Mapping[str, Any]) -> SamplingParams:
    """``sampling`` with other values for some of its fields.

    Raises:
        UsageError: there is no such setting, or it makes no sense.
    """
    known = SamplingSettings.__annotations__
    for name in settings:
        close = get_close_matches(str(name), known, n=1)
        if name not in known:
            raise UsageError(f"no such setting: {name}", hint=f"did you mean {close[0]}?" if close else None)
    return replace(sampling, **settings)


_NEVER_TEXT = ("constraint", "ignore_eos", "limits_thoughts", "template_variables")
PLAIN_SETTINGS = tuple(item.name for item in fields(SamplingParams) if item.name not in _NEVER_TEXT)
"""Names of the settings that can be written as text: in a file, or as a command of a chat."""


def kind_of(name: str) -> type:
    """The type of a plain setting: bool, int, float or tuple (of texts)."""
    default = getattr(SamplingParams(), name)
    return bool if name == "think" else int if default is None else type(default)


def settings_in(source: object) -> SamplingSettings:
    """What is set in an object of ours that has attributes named as settings are, such as the options of a command.

    Attributes that are ``None``, or missing, ask for nothing. Not for bodies of requests, which may have any attribute.
    """
    found = {item.name: getattr(source, item.name, None) for item in fields(SamplingParams)}
    return cast("SamplingSettings", {name: value for name, value in found.items() if value is not None})
