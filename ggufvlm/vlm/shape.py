"""The schema that a question names, and the value that its answer becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ggufvlm.config import SamplingSettings
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.errors import EngineError, UsageError

if TYPE_CHECKING:
    from ggufvlm.vlm.answer import Answer


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer has to look like, and what is made of it.

    Attributes:
        schema: as the caller has it: a pydantic model or type adapter, a dict, JSON text, or the shorthand.
        constraint: the same for the engine.
    """

    schema: Any
    constraint: Constraint

    @classmethod
    def of(cls, schema: Any, settings: SamplingSettings) -> Shape:
        """The shape of a schema.

        Raises:
            UsageError: it is none, or there is a constraint too.
        """
        if settings.get("constraint") is not None:
            raise UsageError("a schema and a constraint: which of them?")
        return cls(schema, Constraint.from_schema(schema))

    def fill(self, answer: Answer) -> Answer:
        """The answer with its value; one that was stopped (``abort``) stays as it is.

        Raises:
            EngineError: the answer is not whole, or the schema's own checks refuse it.
        """
        if answer.finish_reason == "abort":
            return answer
        value = self.constraint.check(answer.text, answer.finish_reason, answer.stop_reason)
        return replace(answer, text=self.constraint.tidy(answer.text), value=self._instance(value))

    def _instance(self, value: Any) -> Any:
        make = getattr(self.schema, "model_validate", None) or getattr(self.schema, "validate_python", None)
        if make is None:
            return value
        try:
            return make(value)
        except ValueError as error:
            problem = " ".join(str(error).split())
            raise EngineError(f"the answer does not fit {name_of(self.schema)}: {problem:.300}") from error


def name_of(schema: Any) -> str:
    """What a schema is called in messages."""
    return str(getattr(schema, "__name__", None) or type(schema).__name__)
