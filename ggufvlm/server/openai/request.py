"""What OpenAI's clients send, as far as this server does it; for other fields :mod:`..unread_fields` has the rule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from ggufvlm.config import SamplingSettings
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.server.contract import Limits, NotServed
from ggufvlm.server.openai.response_format import ResponseFormat, held_to
from ggufvlm.server.unread_fields import refuse_unread

_SEEDS = 2**32 - 1
_ANY_SEED = -1  # as in llama.cpp and its clients
_MAX_TOP_LOGPROBS = 20
_MAX_STOPS = 16

_SWITCHES = ("enable_thinking", "thinking")
_LENGTHS = ("max_completion_tokens", "max_tokens", "n_predict", "max_new_tokens")
"""Names of one thing: of OpenAI, llama.cpp's server and TGI."""
_PART_EXAMPLE = {"url": "data:image/png;base64,iVBORw0KGgo...", "detail": "auto"}


class ChatMessage(BaseModel):
    """One turn of the dialogue."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(description="system, developer, user or assistant.")
    content: str | list[dict[str, Any]] | None = Field(
        default=None,
        description="A text, or a list of parts: text, and in messages of the user image_url.",
        examples=[
            "What is this?",
            [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": _PART_EXAMPLE}],
        ],
    )
    reasoning_content: str | None = Field(
        default=None, description="What the assistant thought before an earlier answer, for templates that show it."
    )


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(default=None, description="Send token counts with a last chunk of their own.")


class Sampling(BaseModel):
    """What chat and completions have in common."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})

    model: str | None = Field(default=None, description="As /v1/models names it; the first if absent or empty.")
    stream: bool | None = Field(default=None, description="Send the answer in pieces, as server-sent events.")
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, description="Longest answer, in tokens.")
    n_predict: int | None = Field(default=None, description="As max_tokens, in llama.cpp's words.")
    max_new_tokens: int | None = Field(default=None, description="As max_tokens, in TGI's words.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="The model's own default if absent.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Choose among tokens that reach this share.")
    top_k: int | None = Field(default=None, ge=-1, description="Not OpenAI's: choose among so many; 0 and -1: all.")
    min_p: float | None = Field(default=None, ge=0, le=1, description="Not OpenAI's: drop rare tokens.")
    repeat_penalty: float | None = Field(default=None, gt=0, description="Not OpenAI's: above 1 for less repetition.")
    repetition_penalty: float | None = Field(default=None, gt=0, description="As repeat_penalty.")
    repeat_last_n: int | None = Field(default=None, ge=-1, description="Tokens that penalties look at; -1 for all.")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, description="The same seed gives the same answer; -1 is any.")
    stop: str | list[str] | None = Field(default=None, description="End the answer at this text, or one of these.")
    n: int | None = Field(default=None, ge=1, description="Answers to give.")
    response_format: ResponseFormat | None = Field(
        default=None, description="text, json_object, or json_schema: then the answer keeps to it."
    )
    format: Literal["", "json"] | dict[str, Any] | None = Field(
        default=None, description='As Ollama\'s: "json", or a JSON Schema that the answer keeps to.'
    )
    json_schema: dict[str, Any] | None = Field(default=None, description="As llama.cpp's server takes it.")

    def settings(self, limits: Limits) -> SamplingSettings:
        """What was given of how to make an answer.

        Raises:
            NotServed: something that this server does not do, or too many answers.
        """
        _refuse_unread(self)
        if self.n is not None and self.n > limits.choices:
            raise NotServed(f"n is {self.n}, and this server gives at most {limits.choices} answers", param="n")
        given: dict[str, Any] = {
            "max_tokens": self._longest(),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k if self.top_k is None else max(self.top_k, 0),
            "min_p": self.min_p,
            "repeat_penalty": self._one_of("repeat_penalty", "repetition_penalty"),
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            # OpenAI's penalties look at the whole answer
            "penalty_last_n": -1 if self._penalizes and self.repeat_last_n is None else self.repeat_last_n,
            "seed": None if self.seed in (None, _ANY_SEED) else self.seed % _SEEDS,
            "stop": self._stops(),
            "constraint": self._constraint(),
        }
        return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]

    @property
    def _penalizes(self) -> bool:
        return bool(self.presence_penalty or self.frequency_penalty)

    def _longest(self) -> int | None:
        fields = type(self).model_fields.keys() & self.model_fields_set
        given = [name for name in _LENGTHS if name in fields and getattr(self, name) is not None]
        if given[:2] == list(_LENGTHS[:2]):
            given.remove("max_tokens")  # as with OpenAI, which replaced it
        found = self._one_of(*given) if given else self.max_tokens
        return None if found is None else max(found, -1)  # llama.cpp's -2: as far as the context goes

    def _one_of(self, *names: str) -> Any:
        """The value of one thing with several names.

        Raises:
            NotServed: they contradict each other.
        """
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if len(set(given.values())) > 1:
            raise NotServed(f"{' and '.join(given)} say different things", param=[*given][-1])
        return next(iter(given.values()), None)

    def _constraint(self) -> Constraint | None:
        wanted = self.response_format
        found = {
            "response_format": wanted.constraint() if wanted else None,
            "format": Constraint.json_object() if self.format == "json" else None,
            "json_schema": held_to(self.json_schema) if self.json_schema else None,
        }
        if isinstance(self.format, dict) and self.format:
            found["format"] = held_to(self.format)
        given = {name: constraint for name, constraint in found.items() if constraint is not None}
        if len(set(given.values())) > 1:
            raise NotServed(f"{' and '.join(given)} say different things", param=[*given][-1])
        return next(iter(given.values()), None)

    def _stops(self) -> tuple[str, ...] | None:
        if self.stop is None:
            return None
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if len(stops) > _MAX_STOPS:
            raise NotServed(f"at most {_MAX_STOPS} stop strings", param="stop")
        return tuple(stop for stop in stops if stop) or None


def _refuse_unread(model: BaseModel, place: str = "") -> None:
    """Go through what no field of a model took, and of the models in it.

    Raises:
        NotServed: see :func:`refuse_unread`.
    """
    fields: dict[str, FieldInfo] = type(model).model_fields
    read = [field.alias or name for name, field in fields.items()]
    refuse_unread(model.model_extra or {}, place, read=read)
    for name in fields:
        value = getattr(model, name)
        for index, inner in enumerate(value) if isinstance(value, list) else [("", value)]:
            if isinstance(inner, BaseModel):
                _refuse_unread(inner, ".".join(filter(None, (place, name, str(index)))))


class ChatRequest(Sampling):
    """A dialogue to be answered."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, description="As max_tokens, which it replaces.")
    logprobs: bool | None = Field(default=None, description="How probable each token was.")
    top_logprobs: int | None = Field(
        default=None, ge=0, le=_MAX_TOP_LOGPROBS, description="Also the most probable tokens in its place."
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="none, minimal: answer at once. All others: think first, if the model can."
    )
    enable_thinking: bool | None = Field(default=None, description="The same, in other words.")
    thinking_budget: int | None = Field(default=None, ge=-1, description="Longest thought, in tokens; -1 for no limit.")
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="Variables of the model's chat template, such as enable_thinking."
    )

    def settings(self, limits: Limits) -> SamplingSettings:
        """See :meth:`Sampling.settings`."""
        settings = super().settings(limits)
        if (thinks := self._thinks()) is not None:
            settings["think"] = thinks
        if self.thinking_budget is not None:
            settings["think_budget"] = self.thinking_budget
        variables = {name: value for name, value in self._told().items() if name not in _SWITCHES}
        if variables:
            settings["template_variables"] = variables
        if self.logprobs:
            settings["logprobs"] = self.top_logprobs or 0
        elif self.top_logprobs:
            raise NotServed("top_logprobs needs logprobs to be true", param="top_logprobs")
        return settings

    @property
    def asks_for_effort(self) -> bool:
        """Whether the model is to think, if it is one that can: clients say so to any model."""
        return self.reasoning_effort not in (None, "none", "minimal")

    def _told(self) -> dict[str, Any]:
        return {name: value for name, value in (self.chat_template_kwargs or {}).items() if value is not None}

    def _thinks(self) -> bool | None:
        told = self._told()
        for name, value in told.items():
            if name in _SWITCHES and not isinstance(value, bool):
                raise NotServed(f"chat_template_kwargs.{name} is true or false", param="chat_template_kwargs")
        given = {name: told.get(name) for name in _SWITCHES if name in told}
        given |= {"enable_thinking": self.enable_thinking} if self.enable_thinking is not None else {}
        if len(set(given.values())) > 1:
            raise NotServed(f"{' and '.join(given)} say different things", param=[*given][-1])
        return next(iter(given.values()), None)


class CompletionRequest(Sampling):
    """A text to be continued, without a chat template."""

    prompt: str | list[str]
    max_tokens: int | None = Field(default=16, description="Longest answer, in tokens.")
    logprobs: int | None = Field(default=None, ge=0, le=_MAX_TOP_LOGPROBS)
    echo: bool | None = Field(default=None, description="Begin the answer with the prompt.")

    @property
    def prompts(self) -> list[str]:
        """One or several."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def settings(self, limits: Limits) -> SamplingSettings:
        """See :meth:`Sampling.settings`."""
        settings = super().settings(limits)
        if self.logprobs is not None:
            if self.echo:
                raise NotServed("logprobs of a prompt are not given: leave out echo or logprobs", param="echo")
            settings["logprobs"] = self.logprobs
        if not 1 <= len(self.prompts) * (self.n or 1) <= limits.choices:
            raise NotServed(f"at least one prompt, and at most {limits.choices} answers", param="prompt")
        return settings
