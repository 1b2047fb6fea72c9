"""What an answer has to look like: a JSON schema, one of several texts, a regular expression, a grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ggufvlm.errors import EngineError, UsageError

ConstraintKind = Literal["json_schema", "regex", "choices", "lark", "gbnf"]

_STRING_OR_SPACE = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\\?\Z))|[ \t\r\n]+', re.DOTALL)  # it may be cut off


@dataclass(frozen=True, slots=True)
class Constraint:
    """A shape that answers are forced into, token by token.

    The class methods refuse what cannot be enforced; made directly, that is found out by :meth:`grammar`.

    Attributes:
        kind: what ``text`` is.
        text: a JSON schema, a JSON list of texts, a regular expression, or a grammar.
    """

    kind: ConstraintKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(ConstraintKind):
            raise UsageError(f"no such kind of constraint: {self.kind!r}", hint=", ".join(get_args(ConstraintKind)))

    @classmethod
    def from_schema(cls, schema: Any) -> Constraint:
        """JSON that a schema allows, keys in the schema's order; :meth:`tidy` takes the white space out.

        >>> number = Constraint.from_schema({"enum": [1, 2, 3]})
        >>> answer = VLM.load("demo").describe("blocks.png", "How many blocks are there?", constraint=number)
        >>> number.check(answer.text)
        3

        Args:
            schema: a dict, JSON text, a pydantic model or type adapter, or the shorthand of the ``llm`` program:
                ``name, age int, tags: a list of words`` (fields separated by commas, or by line breaks; types str,
                int, float, bool; text behind a colon describes a field). Objects of the shorthand and of pydantic
                have no further keys unless the model allows them; other schemas mean what JSON Schema
                (Draft 2020-12) says, and OpenAPI's ``nullable`` allows null. Whether items are unique
                (``uniqueItems``) is found out by :meth:`check`.

        Raises:
            UsageError: not a schema, or something in it cannot be enforced: a message of llguidance, or a word that
                looks like a keyword and is none.
        """
        from ggufvlm.constraints.schema import schema_text

        return _checked(cls("json_schema", schema_text(schema)))

    @classmethod
    def json_object(cls) -> Constraint:
        """Any JSON object."""
        return cls("json_schema", '{"type":"object"}')

    @classmethod
    def choices(cls, choices: Iterable[str]) -> Constraint:
        """One of these texts, exactly.

        Raises:
            UsageError: there are none, or one is empty or named twice.
        """
        from ggufvlm.constraints.grammar import choices_text

        return _checked(cls("choices", choices_text(choices)))

    @classmethod
    def regex(cls, pattern: str) -> Constraint:
        r"""Text that a regular expression matches as a whole.

        The syntax is that of Rust's regex crate: no lookaround, no backreferences. ``\d`` is 0 to 9, ``\w`` any letter.

        Raises:
            UsageError: the expression is wrong.
        """
        return _checked(cls("regex", pattern))

    @classmethod
    def lark(cls, grammar: str) -> Constraint:
        """Text of a grammar in llguidance's dialect of Lark; it begins at the rule ``start``.

        Raises:
            UsageError: the grammar is wrong. Names of special tokens are looked up when a model is asked.
        """
        return _checked(cls("lark", grammar))

    @classmethod
    def gbnf(cls, grammar: str) -> Constraint:
        """Text of a grammar in llama.cpp's GBNF; it begins at the rule ``root``.

        Raises:
            UsageError: the grammar is wrong, or refers to tokens.
        """
        return _checked(cls("gbnf", grammar))

    def grammar(self) -> str:
        """The grammar as ``llguidance.LLMatcher`` takes it.

        Raises:
            UsageError: it is wrong, or cannot be enforced.
        """
        from ggufvlm.constraints.grammar import compiled

        return compiled(self.kind, self.text)

    def check(self, text: str, finish_reason: str = "stop", stop_reason: str | None = None) -> Any:
        """Look at a finished answer once more.

        Args:
            text: the answer.
            finish_reason: how it ended, a :data:`~ggufvlm.engine.sequence.FinishReason`.
            stop_reason: which limit ended it, a :data:`~ggufvlm.engine.sequence.StopReason`.

        Returns:
            For a schema what the JSON says, else the text.

        Raises:
            EngineError: the answer is not whole, or does not fit.
        """
        if finish_reason != "stop":
            way = (
                "-c (n_ctx) makes the context larger"
                if stop_reason == "context"
                else "-n (max_tokens) raises the limit"
            )
            raise EngineError(
                f"the answer ended ({finish_reason}) before it fitted its constraint",
                hint=f"{way}; maxLength and maxItems in a schema keep answers short"
                if finish_reason == "length"
                else None,
            )
        if self.kind == "json_schema":
            from ggufvlm.constraints.validation import parse_answer

            return parse_answer(self.text, text)
        from ggufvlm.constraints.grammar import fits

        if not fits(self.kind, self.text, text):
            raise EngineError(f"the answer does not fit its constraint: {_shortened(text)!r}")
        return text

    @property
    def is_left_to_check(self) -> bool:
        """Whether an answer may keep to the grammar and not to the schema, such as items that are to be unique.

        Raises:
            UsageError: not a schema.
        """
        if self.kind != "json_schema":
            return False
        from ggufvlm.constraints.dialects import is_left_to_check
        from ggufvlm.constraints.schema import read_schema

        return is_left_to_check(read_schema(self.text))

    def tidy(self, text: str) -> str:
        """A finished answer as programs like it: JSON without white space between its tokens, other text as it is."""
        return compact_json(text) if self.kind == "json_schema" else text


def _checked(constraint: Constraint) -> Constraint:
    constraint.grammar()
    return constraint


def _shortened(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def compact_json(text: str) -> str:
    """JSON text without the white space between its tokens; strings, numbers and the order of keys stay as written.

    Models are let to write it as they were trained to, and programs get it without.
    """
    return _STRING_OR_SPACE.sub(lambda found: found[1] or "", text)
