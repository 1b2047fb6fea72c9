"""Models whose file carries no chat template: in which turns they are asked, and who is told."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.engine.request import TextPart
from ggufvlm.families import ChatHandler, Message, ModelFacts, SpecialTokens
from ggufvlm.families.facts import make_handler
from ggufvlm.media import Image
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.pairing import check_pair
from ggufvlm.models.resolve import find_model
from tests.parity.cases import DATA
from tests.parity.sizes import SIZES
from tests.support.bare_models import without_template
from tests.support.program import run_program
from tests.support.running import SCENE, question, started

BARE = "the file carries no chat template"
A, B = (Image.from_rgb(9, 9, bytes([shade]) * 243, f"{shade}.png") for shade in (1, 2))
TEMPLATES = Path(__file__).parents[1] / "parity" / "templates"
DIALOGUES = {
    "asked": [Message("user", (A, "What is this?"))],
    "text first": [Message("user", ("Look: ", A, " and ", B, "Which is darker?"))],
    "again": [Message("user", (A, "One?")), Message("assistant", ("a cat",)), Message("user", ("Two?", B))],
    "with a system message": [Message("system", ("Be brief.",)), Message("user", (A, "What is this?"))],
}
NOT_COMPARED = {("pixtral", "with a system message")}  # the template that the tests have gives it no turn


def prompts(family: str, template: str | None) -> dict[str, str]:
    files = ModelFiles(name=family, model=DATA / family / "model.gguf", mmproj=DATA / family / "mmproj.gguf")
    handler = make_handler(files, check_pair(files.model, files.mmproj), EngineConfig())
    handler.facts = replace(handler.facts, template=template, tokens=SpecialTokens("<s>", "</s>"))
    return {
        name: "".join(part.text if isinstance(part, TextPart) else f"({part.source})" for part in handler.render(said))
        for name, said in DIALOGUES.items()
        if (family, name) not in NOT_COMPARED
    }


@pytest.mark.parametrize("family", sorted(set(SIZES) - {"llava"}))  # files of LLaVA never carry one
def test_the_family_s_own_turns_are_those_of_its_template(family: str) -> None:
    assert prompts(family, None) == prompts(family, (TEMPLATES / f"{family}.jinja").read_text())


def test_a_system_message_of_pixtral_comes_before_the_question() -> None:
    files = ModelFiles(name="pixtral", model=DATA / "pixtral" / "model.gguf", mmproj=DATA / "pixtral" / "mmproj.gguf")
    handler = make_handler(files, check_pair(files.model, files.mmproj), EngineConfig())
    parts = handler.render(DIALOGUES["with a system message"])
    assert "".join(part.text if isinstance(part, TextPart) else "()" for part in parts) == (
        "[INST]Be brief.\n\n()What is this?[/INST]"
    )


@pytest.fixture
def bare(tmp_path: Path) -> list[str]:
    """Arguments for the built-in model without its template."""
    demo = find_model("demo")
    model = without_template(demo.model, tmp_path / "bare.gguf")
    SCENE.draw(140, 140).save(tmp_path / "blocks.png")
    return ["-m", str(model), "--mmproj", str(demo.mmproj)]


def test_python_warns_and_asks_in_the_family_s_turns(bare: list[str], tmp_path: Path) -> None:
    model, mmproj = Path(bare[1]), Path(bare[3])
    with pytest.warns(UserWarning, match=f"bare: {BARE}: .* as for Qwen2-VL; --raw"):
        vlm = VLM.load(model, mmproj)
    with vlm:
        assert vlm.describe(tmp_path / "blocks.png").text == SCENE.caption
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VLM.load(model, mmproj, raw=True).close()
        VLM.load("demo").close()


@pytest.mark.parametrize(
    ("command", "n_warnings"),
    [
        ("describe blocks.png", 1),
        ("describe blocks.png --raw", 0),
        ("batch blocks.png again.png -o rows.jsonl", 1),
        pytest.param("batch blocks.png again.png -o rows.jsonl --isolate", 1, marks=pytest.mark.slow),
        ("chat blocks.png", 1),
    ],
)
def test_the_program_says_it_in_one_line(bare: list[str], tmp_path: Path, command: str, n_warnings: int) -> None:
    SCENE.draw(196, 140).save(tmp_path / "again.png")
    done = run_program(*command.split(), *bare, folder=tmp_path, given=b"Describe this image.\nWhat is on the left?\n")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.decode().splitlines() if BARE in line]
    assert len(lines) == n_warnings, done.stderr
    assert all(line.startswith("warning: bare: ") and "--raw" in line for line in lines)
    assert BARE not in done.stdout.decode()


def test_the_server_logs_it_once(bare: list[str], tmp_path: Path) -> None:
    with started(tmp_path, *bare) as server:
        for _ in range(2):
            assert server.post(question()).json()["choices"][0]["message"]["content"]
        assert server.text().count(BARE) == 1


def test_where_the_family_is_not_known_chatml_is_called_a_guess() -> None:
    handler = ChatHandler(ModelFacts(name="stranger"))
    assert handler.warnings == (
        f"stranger: {BARE}: prompts are written as ChatML, which is a guess; --raw sends them as they are",
    )
    assert ChatHandler(ModelFacts(builtin_template="vicuna")).warnings == ()
