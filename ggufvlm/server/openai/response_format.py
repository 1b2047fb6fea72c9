"""OpenAI's ``response_format``, and as other servers of its interface take it."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ggufvlm.constraints.constraint import Constraint
from ggufvlm.server.contract import NotServed


class JsonSchema(BaseModel):
    """A schema with its name."""

    model_config = ConfigDict(extra="allow")

    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="The answer always keeps to it, strict or not."
    )


class ResponseFormat(BaseModel):
    """What the answer has to look like."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="As llama.cpp's server and Together take it: the schema itself."
    )

    def constraint(self) -> Constraint | None:
        """What answers are held to; ``None`` if they may be any text.

        Raises:
            NotServed: there is no schema where one is needed, there are two, or one that ``type`` contradicts.
        """
        inner = self.json_schema.schema_ if self.json_schema is not None else None
        if inner and self.schema_ and inner != self.schema_:
            raise NotServed("response_format has two schemas", param="response_format.schema")
        schema = inner or self.schema_
        if self.type == "text":
            if schema:
                raise NotServed("a text keeps to no schema: json_schema does", param="response_format.type")
            return None
        if self.type == "json_object":
            return held_to(schema) if schema else Constraint.json_object()
        if schema is None:
            schema = inner if inner is not None else self.schema_
        if schema is None:
            raise NotServed("response_format names no schema", param="response_format.json_schema.schema")
        return held_to(schema)


def held_to(schema: dict[str, Any]) -> Constraint:
    """The constraint of a client's schema."""
    # not compiled here: what a schema does to its compiler is for the model's process to bear
    return Constraint("json_schema", json.dumps(schema))
