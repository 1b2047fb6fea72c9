"""Which words of a line are images, and what is left of it for the model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ggufvlm.cli.chat.words import is_command, is_open, understand
from ggufvlm.errors import ImageError

posix = pytest.mark.skipif(os.name != "posix", reason="a backslash separates folders here")


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "my photo.jpg", "it's.png", "noending"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("a.png", "a.png"),
        ("  a.png ", "a.png"),
        ("my photo.jpg", "my photo.jpg"),
        ("'my photo.jpg'", "my photo.jpg"),
        ('"my photo.jpg" ', "my photo.jpg"),
        pytest.param("my\\ photo.jpg", "my photo.jpg", marks=posix),
        pytest.param("it\\'s.png", "it's.png", marks=posix),
        ("it's.png", "it's.png"),
        ("https://example.org/cat.webp?size=2", "https://example.org/cat.webp?size=2"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
    ],
)
def test_a_line_that_is_an_image(line: str, source: str) -> None:
    said = understand(line)
    assert (said.text, said.sources) == ("", [source])


def test_dragged_files_have_long_names(images: Path) -> None:
    assert understand(f"{images}/noending").sources == [f"{images}/noending"], "a whole line needs no ending"
    url = (images / "my photo.jpg").as_uri()
    assert understand(url).sources == [url]
    said = understand(f"'{images}/my photo.jpg' {images}/a.png What is this?")
    assert said.text == "What is this?"
    assert said.sources == [f"{images}/my photo.jpg", f"{images}/a.png"]
    assert understand(f"What is this? {images}/a.png").text == "What is this?"
    within = understand(f"Is {images}/a.png, which I drew, good?")
    assert within.text == "Is a.png, which I drew, good?"
    assert within.sources == [f"{images}/a.png"]


@pytest.mark.parametrize(
    "line",
    [
        "What is this?",
        "What's on the left, and what's on the right?",
        "see https://example.org/page.html",
        "noending",
        "Is it 3.5 or 3.6?",
        "'tis the season, isn't it",
        'He said "a. png", I think.',
        "what do .png and .jpg mean",
        "x" * 100_000,
        "café \N{PARTY POPPER} \\ \"' '\"",
    ],
)
def test_text_stays_as_it_is(line: str) -> None:
    said = understand(line)
    assert (said.text, said.sources) == (line, [])


@pytest.mark.parametrize("line", ["b.png", "What is in b.png?", "./b.jpg", "'no photo.jpg' What?", "/tmp/none/b.JPG"])
def test_an_image_that_is_not_there_is_never_sent_as_text(line: str) -> None:
    with pytest.raises(ImageError, match="no such image"):
        understand(line)


def test_several_lines_and_quotes(images: Path) -> None:
    assert understand("first b.png\nsecond a.png").sources == ["a.png"], "of a pasted text only what exists is meant"
    raw = understand('"""\nlook at a.png and b.png\n  indented\n"""')
    assert (raw.text, raw.sources) == ("look at a.png and b.png\n  indented", [])
    assert understand('"""one line"""').text == "one line"
    assert [is_open(text) for text in ('"""', '"""a', '"""a"""', '"""\na\n"""', 'a """')] == [True, True] + [False] * 3


def test_commands_and_paths_both_begin_with_a_slash(images: Path) -> None:
    assert all(map(is_command, ("/help", "/hlep", "/image a.png", "/", "/?")))
    assert not any(map(is_command, (f"{images}/a.png", "/home/me/a.png", "help", "", '"""/help"""', "1/2 is what?")))
