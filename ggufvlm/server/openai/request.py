"""What OpenAI's clients send, as far as this server does it. Unknown fields are let through: clients send many."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ggufvlm.config import SamplingSettings
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.server.contract import Limits, NotServed

_SEEDS = 2**32 - 1
_ANY_SEED = -1  # as in llama.cpp and its clients
_MAX_TOP_LOGPROBS = 20
_MAX_STOPS = 16

_REFUSED: dict[str, tuple[Any, ...]] = {
    # field: values that ask for nothing
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "audio": (),
    "web_search_options": (),
    "best_of": (1,),
    "suffix": ("",),
    "grammar": ("",),
    "json_schema": ({},),
    "structured_outputs": ({},),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
}
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


class StreamOptions(BaseModel):
    """How to stream."""

    include_usage: bool | None = Field(default=None, description="Send token counts with a last chunk of their own.")


class Sampling(BaseModel):
    """What chat and completions have in common."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})

    model: str | None = Field(default=None, description="As /v1/models names it; the server's first if absent.")
    stream: bool | None = Field(default=None, description="Send the answer in pieces, as server-sent events.")
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, description="Longest answer, in tokens.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="The model's own default if absent.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Choose among tokens that reach this share.")
    top_k: int | None = Field(default=None, ge=-1, description="Not OpenAI's: choose among so many; 0 and -1: all.")
    min_p: float | None = Field(default=None, ge=0, le=1, description="Not OpenAI's: drop rare tokens.")
    repeat_penalty: float | None = Field(default=None, gt=0, description="Not OpenAI's: above 1 for less repetition.")
    repetition_penalty: float | None = Field(default=None, gt=0, description="As repeat_penalty.")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, description="The same seed gives the same answer; -1 is any.")
    stop: str | list[str] | None = Field(default=None, description="End the answer at this text, or one of these.")
    n: int | None = Field(default=None, ge=1, description="Answers to give.")
    user: str | None = None

    def settings(self, limits: Limits) -> SamplingSettings:
        """What was given of how to make an answer.

        Raises:
            NotServed: something that this server does not do, or too many answers.
        """
        self._refuse()
        if self.n is not None and self.n > limits.choices:
            raise NotServed(f"n is {self.n}, and this server gives at most {limits.choices} answers", param="n")
        given: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k if self.top_k is None else max(self.top_k, 0),
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty or self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            # OpenAI's penalties look at the whole answer
            "penalty_last_n": -1 if self.presence_penalty or self.frequency_penalty else None,
            "seed": None if self.seed in (None, _ANY_SEED) else self.seed % _SEEDS,
            "stop": self._stops(),
        }
        return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]

    def _refuse(self) -> None:
        for name, harmless in _REFUSED.items():
            value = getattr(self, name, None)
            if value is not None and value not in harmless:
                raise NotServed(f"this server does not do {name!r}", param=name)
        if "audio" in (getattr(self, "modalities", None) or ()):
            raise NotServed("this server answers with text only", param="modalities")

    def _stops(self) -> tuple[str, ...] | None:
        if self.stop is None:
            return None
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if len(stops) > _MAX_STOPS:
            raise NotServed(f"at most {_MAX_STOPS} stop strings", param="stop")
        return tuple(stop for stop in stops if stop) or None


class JsonSchema(BaseModel):
    """A schema with its name."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = Field(default=None, description="The answer always keeps to the schema.")


class ResponseFormat(BaseModel):
    """What the answer has to look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Sampling):
    """A dialogue to be answered."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, description="As max_tokens, which it replaces.")
    logprobs: bool | None = Field(default=None, description="How probable each token was.")
    top_logprobs: int | None = Field(
        default=None, ge=0, le=_MAX_TOP_LOGPROBS, description="Also the most probable tokens in its place."
    )
    response_format: ResponseFormat | None = Field(
        default=None, description="text, json_object, or json_schema: then the answer keeps to it."
    )

    def settings(self, limits: Limits) -> SamplingSettings:
        """See :meth:`Sampling.settings`."""
        settings = super().settings(limits)
        if self.max_completion_tokens is not None:
            settings["max_tokens"] = self.max_completion_tokens
        if self.logprobs:
            settings["logprobs"] = self.top_logprobs or 0
        elif self.top_logprobs:
            raise NotServed("top_logprobs needs logprobs to be true", param="top_logprobs")
        constraint = self._constraint()
        if constraint is not None:
            settings["constraint"] = constraint
        return settings

    def _constraint(self) -> Constraint | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return Constraint.json_object()
        if wanted.json_schema is None or wanted.json_schema.schema_ is None:
            raise NotServed("response_format names no schema", param="response_format.json_schema.schema")
        # not compiled here: what a schema does to its compiler is for the model's process to bear
        return Constraint("json_schema", json.dumps(wanted.json_schema.schema_))


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
