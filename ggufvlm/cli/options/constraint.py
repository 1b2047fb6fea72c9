"""The options that say what an answer has to look like."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, ClassVar

from ggufvlm.cli.options.shared import SamplingOptions, option, text_or_file
from ggufvlm.config import SamplingParams
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.config import SamplingSettings
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.tasks.presets import Preset


@dataclass(frozen=True, kw_only=True)
class ConstraintOptions:
    """The shape that an answer is forced into."""

    panel: ClassVar[str] = "Answer's shape"

    schema: Annotated[
        str | None,
        option(
            "--schema",
            help='The answer is JSON of this schema: a file, JSON, or fields such as "name, age int, tags: a list".',
            metavar="FILE|JSON|FIELDS",
        ),
    ] = None
    choices: Annotated[
        str | None,
        option(
            "--choices", help="The answer is one of these: a,b,c, or @FILE with one a line.", metavar="A,B,..|@FILE"
        ),
    ] = None
    regex: Annotated[
        str | None,
        option("--regex", help="The answer matches this regular expression as a whole.", metavar="REGEX"),
    ] = None
    grammar: Annotated[
        str | None, option("--grammar", help="The answer keeps to a grammar: Lark or GBNF.", metavar="FILE")
    ] = None

    def constraint(self, *, prefill: str = "") -> Constraint | None:
        """What they demand.

        Args:
            prefill: the beginning of the answer that was given, which a constraint does not go with.

        Raises:
            UsageError: two of them, one with a prefill, or one that is wrong.
            InputError: a file that cannot be read.
        """
        from ggufvlm.constraints.constraint import Constraint
        from ggufvlm.constraints.given import choices_given, grammar_given, schema_given

        given = [f"--{item.name}" for item in fields(self) if getattr(self, item.name) is not None]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]}: an answer can have one shape")
        if given and prefill:
            raise UsageError(f"--prefill and {given[0]}: the constraint begins with the answer")
        if self.schema is not None:
            return schema_given(self.schema)
        if self.choices is not None:
            return choices_given(self.choices)
        if self.regex is not None:
            return Constraint.regex(self.regex)
        return None if self.grammar is None else grammar_given(self.grammar)


def read_list(given: str) -> list[str]:
    """``a,b,c``, or ``@FILE`` with one a line; without blanks around them and empty ones.

    Raises:
        InputError: the file cannot be read.
    """
    parts = text_or_file(given).splitlines() if given.startswith("@") else given.split(",")
    return [part.strip() for part in parts if part.strip()]


def shaped_settings(
    sampling: SamplingOptions, shape: ConstraintOptions, preset: Preset | None, prefill: str
) -> SamplingSettings:
    """How answers are made: what the options say comes before what a preset says.

    Raises:
        UsageError: settings that do not go together.
        InputError: a file that cannot be read.
    """
    settings: SamplingSettings = {**(preset.settings if preset else {}), **sampling.settings()}
    constraint = shape.constraint(prefill=prefill)
    if constraint is not None:
        settings["constraint"] = constraint
    elif prefill and settings.get("constraint"):
        raise UsageError("--prefill and --preset: the preset's constraint begins with the answer")
    SamplingParams(**settings)  # what makes no sense is refused before anything is loaded
    return settings
