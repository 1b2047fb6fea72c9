"""Tasks by name: the usual ones, and the user's own with constraints and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, InputError, UsageError
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.tasks.presets import PRESETS, find_preset
from tests.support.scenes import Scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the user's settings."""
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def write(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text, encoding="utf-8")


def test_the_usual_tasks_have_no_shape() -> None:
    assert set(PRESETS) == {"caption", "detailed", "alt", "tags", "ocr"}
    for name, preset in PRESETS.items():
        assert find_preset(name) == preset
        assert set(preset.settings) == {"max_tokens"}


TABLES: dict[str, tuple[str, str, Any]] = {
    "fields": ('schema = "shop, total float"', '{"shop":"a","total":1.5}', {"shop": "a", "total": 1.5}),
    "JSON": ('schema = \'{"type": "integer"}\'', "7", 7),
    "a table": ('schema = { type = "array", items = { enum = ["a", 1] } }', '["a",1]', ["a", 1]),
    "a file": ('schema = "thing.json"', "true", True),
    "choices": ('choices = ["red", "dark, blue"]', "dark, blue", "dark, blue"),
    "regex": ("regex = '[A-Z]{2}\\d+'", "AB12", "AB12"),
    "grammar file": ('grammar = "list.gbnf"', "- a\n- b\n", "- a\n- b\n"),
    "grammar": ('grammar = """\nstart: "a" | "b" start\n"""', "bba", "bba"),
}


@pytest.mark.parametrize("name", TABLES)
def test_shapes(folder: Path, name: str) -> None:
    (folder / "thing.json").write_text('{"type": "boolean"}')
    (folder / "list.gbnf").write_text('root ::= ("- " [a-z]+ "\\n")+')
    line, answer, value = TABLES[name]
    write(folder, f'[presets.mine]\nprompt = "What?"\n{line}\n')
    preset = find_preset("mine")
    constraint = preset.settings["constraint"]
    assert constraint is not None
    assert constraint.check(answer) == value


def test_settings(folder: Path) -> None:
    write(
        folder,
        """
        [presets.mine]
        prompt = "What is in {stem}?"
        system = "Be brief."
        max_tokens = 20
        temperature = 0
        top_k = 5
        top_p = 0.9
        seed = 7
        stop = ["."]
        """,
    )
    preset = find_preset("mine")
    assert (preset.prompt, preset.system) == ("What is in {stem}?", "Be brief.")
    expected = {"max_tokens": 20, "temperature": 0, "top_k": 5, "top_p": 0.9, "seed": 7, "stop": (".",)}
    assert preset.settings == expected


def test_a_usual_task_can_be_changed_in_part(folder: Path) -> None:
    write(folder, '[presets.tags]\nregex = "[a-z, ]+"\n[presets.alt]\nprompt = "Alt text?"\n')
    tags, alt = find_preset("tags"), find_preset("alt")
    assert tags.prompt == PRESETS["tags"].prompt
    assert tags.settings == {**PRESETS["tags"].settings, "constraint": Constraint.regex("[a-z, ]+")}
    assert (alt.prompt, alt.settings) == ("Alt text?", PRESETS["alt"].settings)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("max_tokens = 3", "it has no prompt"),
        ('prompt = 3\nregex = "a"', "prompt must be text"),
        ('prompt = "a"\nmax_tokens = "b"', "max_tokens must be a whole number"),
        ('prompt = "a"\nmax_tokens = 1.5', "max_tokens must be a whole number"),
        ('prompt = "a"\ntemperature = true', "temperature must be a number"),
        ('prompt = "a"\ntemperature = -1', "temperature must not be negative"),
        ('prompt = "a"\ntop_p = 2', "top-p"),
        ('prompt = "a"\nstop = "b"', "stop must be a list of texts"),
        ('prompt = "a"\nchoices = "a,b"', "choices must be a list of texts"),
        ('prompt = "a"\nchoices = ["a", 1]', "choices must be a list of texts"),
        ('prompt = "a"\nchoices = []', "choices: no choices given"),
        ('prompt = "a"\nregex = "(a"', "regex: the regular expression is refused: unclosed group"),
        ('prompt = "a"\nregex = "a"\nchoices = ["a"]', "choices and regex: an answer can have one shape"),
        ('prompt = "a"\nschema = 3', "schema must be text or a table"),
        ('prompt = "a"\nschema = { type = "int" }', "schema: the schema is refused: Invalid type: int"),
        ('prompt = "a"\nschema = { const = 2020-01-01 }', "schema: the schema cannot be written as JSON"),
        ('prompt = "a"\nshema = "b"', "unknown key 'shema'"),
    ],
)
def test_errors_name_file_preset_and_key(folder: Path, lines: str, sentence: str) -> None:
    write(folder, f"[presets.mine]\n{lines}\n")
    with pytest.raises(UsageError) as wrong:
        find_preset("mine")
    assert str(wrong.value).startswith(f"{folder / 'config.toml'}: [presets.mine]: ")
    assert sentence in str(wrong.value)


def test_a_file_that_is_not_there(folder: Path) -> None:
    write(folder, '[presets.mine]\nprompt = "a"\nschema = "no.json"\n')
    with pytest.raises(InputError, match=r"\[presets\.mine\]: schema: .*no\.json: No such file"):
        find_preset("mine")


def test_one_wrong_preset_leaves_the_others_alone(folder: Path) -> None:
    write(folder, '[presets.bad]\nregex = "("\n[presets.good]\nprompt = "Yes?"\nchoices = ["yes", "no"]\n')
    assert find_preset("good").settings["constraint"] == Constraint.choices(["yes", "no"])
    assert find_preset("caption") == PRESETS["caption"]
    with pytest.raises(UsageError) as unknown:
        find_preset("godo")
    assert unknown.value.hint == "did you mean good? there are: alt, bad, caption, detailed, good, ocr, tags"


@pytest.mark.parametrize("text", ["presets = 3", "presets = [", "\x00"])
def test_a_file_that_is_no_list_of_presets(folder: Path, text: str) -> None:
    write(folder, text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        find_preset("caption")


def test_the_model_keeps_to_a_preset(folder: Path, demo: VLM, scene: Scene, tmp_path: Path) -> None:
    scene.draw(196, 140).save(tmp_path / "scene.png")
    kinds = ", ".join(f'"{block.name}"' for block in scene.blocks)
    write(folder, f'[presets.left]\nprompt = "What is on the left?"\nchoices = [{kinds}, "nothing"]\n')
    preset = find_preset("left")
    answer = demo.describe(tmp_path / "scene.png", preset.prompt, system=preset.system, **preset.settings)
    assert answer.text == scene.blocks[0].name


def test_help_waits_for_no_grammar_library() -> None:
    code = "import sys, ggufvlm.cli.options.constraint, ggufvlm.tasks.presets; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=os.environ)
    assert not {"'llguidance'", "'jsonschema'", "'numpy'", "'pydantic'"} & set(done.stdout.strip("[]\n").split(", "))
