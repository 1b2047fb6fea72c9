"""The options of an answer's shape, as a command has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ggufvlm import InputError, UsageError
from ggufvlm.cli.options.constraint import ConstraintOptions
from ggufvlm.cli.options.shared import grouped
from ggufvlm.constraints.constraint import Constraint


@grouped
def _command(shape: ConstraintOptions, prefill: str = "") -> None:
    """Show the constraint."""
    constraint = shape.constraint(prefill=prefill)
    typer.echo(f"{constraint.kind} {constraint.text}" if constraint else "none")


def ask(*arguments: str) -> str:
    """What the command prints; its errors as they are raised."""
    app = typer.Typer()
    app.command()(_command)
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_each_option_is_a_kind_of_constraint(tmp_path: Path) -> None:
    (tmp_path / "g.gbnf").write_text('root ::= "a"')
    (tmp_path / "g.lark").write_text('start: "a"')
    assert ask() == "none"
    assert ask("--schema", "a, n int").startswith('json_schema {"type":"object","properties":{"a":')
    assert ask("--schema", '{"type": "null"}') == 'json_schema {"type": "null"}'
    assert ask("--choices", "red, dark blue") == 'choices ["red", "dark blue"]'
    assert ask("--regex", r"\d+") == r"regex \d+"
    assert ask("--grammar", str(tmp_path / "g.gbnf")) == 'gbnf root ::= "a"'
    assert ask("--grammar", str(tmp_path / "g.lark")) == 'lark start: "a"'


def test_an_answer_has_one_shape() -> None:
    with pytest.raises(UsageError, match="--schema and --regex"):
        ask("--regex", "a", "--schema", "b")
    with pytest.raises(UsageError, match="--prefill and --choices"):
        ask("--choices", "a,b", "--prefill", "The")
    assert ask("--prefill", "The") == "none"


def test_nothing_given_is_not_taken_for_nothing_wanted() -> None:
    for option in ("--schema", "--choices", "--regex"):
        with pytest.raises(UsageError):
            ask(option, "")
    with pytest.raises(InputError):
        ask("--grammar", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--schema", '{"minLenght": 1}'), "no keyword"),
        (("--schema", "[]"), "a schema is a JSON object"),
        (("--schema", "true"), "a schema is a JSON object"),
        (("--schema", '"name"'), "a schema is a JSON object"),
        (("--choices", "a,,b"), "empty"),
        (("--regex", "(a"), "unclosed group"),
    ],
)
def test_wrong_values_are_wrong_usage(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        ask(*arguments)
    assert refused.value.exit_code == 2


def test_a_missing_file_is_an_input_that_cannot_be_read() -> None:
    with pytest.raises(InputError, match=r"person\.json: No such file") as missing:
        ask("--schema", "person.json")
    assert missing.value.exit_code == 3


def test_help_names_what_is_taken() -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(_command)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert all(words in shown for words in ("FILE|JSON|FIELDS", "A,B,..|@FILE", "REGEX", "Lark or GBNF"))


def test_options_compare_by_value() -> None:
    assert ConstraintOptions(regex="a").constraint() == Constraint.regex("a")
