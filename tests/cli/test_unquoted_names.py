"""Names that a shell has cut at their blanks, and addresses without https://."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, Run


@pytest.fixture
def shot(folder: Path) -> Path:
    """An image with blanks in its name and in that of its folder."""
    (folder / "My Photos").mkdir()
    return (folder / "blocks.png").rename(folder / "My Photos" / "holiday shot.png")


def test_an_unquoted_name_with_blanks_is_understood(run: Run, shot: Path) -> None:
    unquoted = ["My", "Photos/holiday", "shot.png"]
    done = run("describe", *unquoted, "Describe this image.")
    assert done.stdout.decode() == SCENE.caption + "\n", done.stderr
    assert run("describe", "My", "Photos").stdout.decode() == SCENE.caption + "\n"
    assert run("detect", *unquoted, "red").stdout.startswith(b"red")
    assert run("classify", *unquoted, "--labels", "a,b").returncode == 0
    assert run("batch", *unquoted, "-o", "out.jsonl", "-q").returncode == 0
    assert run("chat", *unquoted, input=b"Describe this image.\n").stdout.decode() == SCENE.caption + "\n"


@pytest.mark.parametrize(
    "line", ["My Photos/holiday shot.png Describe this image.", "/image My Photos/holiday shot.png"]
)
def test_an_unquoted_name_in_a_chat(run: Run, shot: Path, line: str) -> None:
    done = run("chat", input=f"{line}\nDescribe this image.\n".encode())
    assert b"staged image 1: My Photos/holiday shot.png" in done.stderr
    assert done.stdout.decode().splitlines()[-1] == SCENE.caption


def test_an_unquoted_name_that_does_not_exist_is_told_as_a_whole(run: Run, shot: Path) -> None:
    done = run("describe", "My", "Photos/holiday", "shoot.png", "What?")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        "error: no such image: My Photos/holiday shoot.png",
        'hint: a name with blanks goes in quotes: "My Photos/holiday shoot.png"',
    ]


@pytest.mark.parametrize("address", ["www.example.org/cat.png", "example.org/a/cat.png"])
def test_an_address_without_its_beginning(run: Run, address: str) -> None:
    done = run("describe", address, "What?")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        f"error: no such image: {address}",
        f"hint: did you mean https://{address}?",
    ]
