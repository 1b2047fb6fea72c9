"""What README and guide name exists: links, topics, commands, options, variables, functions."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest
from typer.main import get_command

from ggufvlm.cli.chat.commands import COMMANDS as CHAT_COMMANDS
from ggufvlm.cli.main import app
from ggufvlm.guide import pages as guide
from ggufvlm.models.registry import load_registry
from tests.support.pages import GUIDE, PAGES, ROOT, inline_code, links, name_of, pipelines, prose, snippets

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = {
    option
    for command in [*COMMANDS.values(), *COMMANDS["cache"].commands.values()]
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
} | {"--help", "--version"}
NAMED_ALONE = {name for name, command in COMMANDS.items() if any(p.required for p in command.params)}
"""Commands that the text may mention without what they need."""
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for text, target in links(page):
        if target.startswith(("http://", "https://")):
            continue
        place, _, heading = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        assert found.is_relative_to(ROOT), f"{text}: {target} is outside the repository"
        assert found.exists(), f"{text}: there is no {target}"
        assert not heading or heading in _anchors(found), f"{text}: {place} has no heading #{heading}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_a_link_to_a_page_says_its_topic(page: Path) -> None:
    """A terminal shows the text of a link alone: with it the reader can go on."""
    for text, target in links(page):
        if target.endswith(".md") and (page.parent / target).parent.resolve() == GUIDE and "README" not in target:
            assert text == Path(target).stem


def test_the_index_lists_every_page_once() -> None:
    assert sorted(guide.topics()) == sorted(page.stem for page in GUIDE.glob("*.md") if page.stem != guide.INDEX)


def test_every_page_can_be_reached_from_the_readme() -> None:
    targets = {(ROOT / target).resolve() for _, target in links(ROOT / "README.md")}
    assert set(GUIDE.glob("*.md")) <= targets


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_largest_limit_stands_at_the_top_of_the_readme() -> None:
    beginning = (ROOT / "README.md").read_text(encoding="utf-8").split("## Two commands")[0]
    assert "any published model of real size" in beginning


def test_memory_in_the_readme_is_that_of_the_registry() -> None:
    registry = load_registry()
    row = re.compile(r"^\| `([^`]+)` \| [\d.]+ GB \| ([\d.]+) GB \|", re.MULTILINE)
    rows = row.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(rows) >= 3
    for name, memory in rows:
        assert registry.find(name).memory_gb == float(memory), name


def test_every_command_has_one_page_that_sends_to_its_options() -> None:
    for command in COMMANDS:
        if command not in ("help", "version"):
            about = [topic for topic in guide.topics() if f"`ggufvlm {command} --help`" in guide.read_page(topic)]
            assert len(about) == 1, f"{command}: {about}"


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    for code in inline_code(page):
        if code.startswith("-") and code != "-":
            assert code.split()[0] in OPTIONS, code
        if code.startswith("ggufvlm "):
            check_words(code.split()[1:])


@pytest.mark.parametrize("snippet", snippets("sh"), ids=lambda snippet: snippet.id)
def test_commands_in_snippets_can_be_parsed(snippet) -> None:
    for pipeline in pipelines(snippet.text):
        for stage in pipeline:
            if stage.words[0] == "ggufvlm":
                check_words(stage.words[1:])


def check_words(words: list[str]) -> None:
    """What stands behind ``ggufvlm``: options of the program, or a command with options and values it can parse."""
    if words[0].startswith("-"):
        assert set(words) <= OPTIONS, words
        return
    name, *rest = words
    if name == "COMMAND" or rest in (["TOPIC"], ["COMMAND"]):  # a placeholder
        return
    assert name in COMMANDS, f"ggufvlm has no command {name}"
    command = COMMANDS[name]
    if rest[:1] and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    if rest == ["--help"]:
        return
    if rest or name not in NAMED_ALONE:
        command.make_context(name, list(rest))


def test_commands_of_the_chat_exist() -> None:
    named = {match for code in inline_code(GUIDE / "chat.md") for match in re.findall(r"^/(\w+)", code)}
    assert named <= set(CHAT_COMMANDS)
    assert {"image", "undo", "save"} <= named


def test_environment_variables_exist_and_none_is_forgotten() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in GUIDE.parent.rglob("*.py"))
    known = {name for name in re.findall(r"\bGGUFVLM_[A-Z_]+\b", source) if "TEST" not in name}
    for page in PAGES:
        assert set(re.findall(r"\bGGUFVLM_[A-Z_]+\b", page.read_text(encoding="utf-8"))) <= known
    assert known <= set(re.findall(r"\bGGUFVLM_[A-Z_]+\b", guide.read_page("troubleshooting")))


def test_optional_packages_exist_and_none_is_forgotten() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE)) - {"test"}
    named = [
        set(re.findall(r"\w+", extras))
        for page in PAGES
        for extras in re.findall(r"\bggufvlm\[([\w,]+)\]", page.read_text(encoding="utf-8"))
    ]
    assert set().union(*named) == known


def test_functions_that_the_architecture_names_exist() -> None:
    """``[`VLM.stream`](../vlm/vlm.py)`` is an attribute of the module to which the link leads."""
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+)\.py\)", guide.read_page("architecture"))
    assert len(named) > 10
    for name, module in named:
        home = importlib.import_module("ggufvlm." + module.replace("/", ".").removesuffix(".__init__"))
        reduce(getattr, name.split("."), home)


def test_the_architecture_names_every_room() -> None:
    page = guide.read_page("architecture")
    rooms = {path.parent.name for path in GUIDE.parent.glob("*/__init__.py")}
    assert rooms - set(re.findall(r"^\| \[(\w+)\]", page, re.MULTILINE)) == set()


@each_page
def test_one_word_for_one_thing(page: Path) -> None:
    found = re.findall(r"(?i)\bpictures?\b|runs? in circles|for ever\b", page.read_text(encoding="utf-8"))
    assert not found, f"the words here are image, repetition loop, indefinitely: {found}"
