"""``ggufvlm help``, in a pipe and on a terminal of 80 columns."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from ggufvlm.cli.main import app
from ggufvlm.errors import UsageError
from ggufvlm.guide import pages as guide
from tests.cli.conftest import shown_lines
from tests.support.pages import GUIDE, Snippet, inline_code, snippets


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["help", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_alone_it_lists_the_topics_with_a_line_each() -> None:
    listed = dict(re.findall(r"^- \[([\w-]+)\]\(\S+\): (.+)$", shown(), re.MULTILINE))
    assert list(listed) == guide.topics()
    assert {"models", "images", "chat", "batch", "serve", "python", "parity", "architecture"} <= set(listed)


def test_in_a_pipe_a_page_is_its_markdown() -> None:
    assert shown("models") == (GUIDE / "models.md").read_text(encoding="utf-8")


def test_a_command_that_is_no_topic_shows_its_options_and_names_its_page() -> None:
    page = shown("classify")
    assert "Usage: ggufvlm classify" in page
    assert "--calibrate" in page
    assert page.endswith("ggufvlm help detect\n")
    assert "--embeddings" in shown("cache", "clear")


def test_an_unknown_topic_is_one_line_that_names_the_topics() -> None:
    with pytest.raises(UsageError) as error:
        shown("nix")
    assert "'nix'" in str(error.value)
    assert all(topic in str(error.value) for topic in guide.topics())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("topic", [*guide.topics(), ""])
def test_on_a_terminal_of_80_columns_nothing_is_cut(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    lines = shown_lines(shown(*[topic] * bool(topic), "--color", "on").replace("\n", "\r\n"), 81)
    assert max(map(len, lines)) <= 80
    drawn = "\n".join(lines)
    assert "](" not in drawn, "links are shown by their text"
    page = GUIDE / f"{topic or guide.INDEX}.md"
    for code in inline_code(page):
        for word in code.split():
            assert word in drawn, f"{word} is broken or lost"
    for snippet in _of(page):
        for line in snippet.text.splitlines():
            assert line.rstrip() in drawn, f"too wide: {line}"


def _of(page: object) -> list[Snippet]:
    return [snippet for snippet in snippets() if snippet.page == page]
