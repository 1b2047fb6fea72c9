"""Prompts with fields, and presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufvlm import InputError, UsageError
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.item import Item
from ggufvlm.tasks.presets import find_preset

ITEM = Item(id="7", path="trips/rome/p1.jpg", sources=(Path("trips/rome/p1.jpg"),), fields={"place": "Rome"})
EXIF = {"DateTimeOriginal": "2024:05:01 10:00:00"}


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("{stem}, {name}, {folder}, {path}, {id}", "p1, p1.jpg, rome, trips/rome/p1.jpg, 7"),
        ("In {place} on {exif.DateTimeOriginal}?", "In Rome on 2024:05:01 10:00:00?"),
        ('Answer {{"a": "{place}"}}', 'Answer {"a": "Rome"}'),
        ("no fields", "no fields"),
    ],
)
def test_fields(prompt: str, filled: str) -> None:
    assert parse(prompt).fill(ITEM, EXIF) == filled


def test_values_are_not_templates() -> None:
    item = Item(id="1", path=None, sources=(b"",), fields={"a": "{b}"})
    assert parse("{a}").fill(item, {}) == "{b}"


@pytest.mark.parametrize("prompt", ['{"a": 1}', "{}", "a { b", "}"])
def test_other_braces_are_refused_with_a_hint(prompt: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(prompt)
    assert "{{" in (refused.value.hint or "")


def test_a_field_that_no_input_can_have_is_refused_before_the_start() -> None:
    with pytest.raises(UsageError, match="place"):
        parse("{place}").check(frozenset())
    with pytest.raises(UsageError, match="Nonsense"):
        parse("{exif.Nonsense}").check(None)
    parse("{place} {stem} {exif.Model}").check(frozenset({"place"}))
    parse("{place}").check(None)


@pytest.mark.parametrize("prompt", ["{exif.Model}", "{other}"])
def test_a_field_that_an_input_lacks_is_its_error(prompt: str) -> None:
    with pytest.raises(InputError, match="7"):
        parse(prompt).fill(ITEM, EXIF)


def test_bytes_have_no_name() -> None:
    with pytest.raises(InputError, match="stem"):
        parse("{stem}").fill(Item(id="t.csv:1", path=None, sources=(b"x",)), {})


# -- presets


def config(folder: Path, text: str) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "config.toml").write_text(text)


def test_the_usual_tasks_have_prompts_without_stray_braces() -> None:
    for name in ("caption", "detailed", "alt", "tags", "ocr"):
        assert parse(find_preset(name).prompt).fields == ()


def test_presets_of_the_user(folder: Path) -> None:
    birds = '[presets.birds]\nprompt = "Which bird is it?"\nmax_tokens = 20\n'
    config(folder, birds + "[presets.caption]\nmax_tokens = 9\n")
    assert (find_preset("birds").prompt, find_preset("birds").settings["max_tokens"]) == ("Which bird is it?", 20)
    assert (find_preset("caption").settings["max_tokens"], "sentence" in find_preset("caption").prompt) == (9, True)


@pytest.mark.parametrize("table", ['x = 1\nprompt = "a"', "max_tokens = 3", 'prompt = "a"\nmax_tokens = "b"'])
def test_a_wrong_preset_names_its_file(folder: Path, table: str) -> None:
    config(folder, f"[presets.mine]\n{table}\n")
    with pytest.raises(UsageError, match=r"config\.toml"):
        find_preset("mine")


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(UsageError) as refused:
        find_preset("captoin")
    assert "caption" in (refused.value.hint or "")
