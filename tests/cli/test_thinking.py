"""Models that think before they answer, in a terminal and in pipes: the answer is all that stdout has."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pytest

from ggufvlm import VLM, Chat, EngineConfig, Question, classify, detect, ocr
from ggufvlm.engine.request import TextPart
from ggufvlm.spark.rows import SparkJob, answer_batches
from tests.support.clips import write_clip
from tests.support.program import run_program
from tests.support.scripted_models import PROJECTOR, write_script

TEMPLATES = Path(__file__).parents[1] / "data" / "templates"
THOUGHT, ANSWER = "I see red, red, red. It may be a square.", "A red square on red."
IMAGE = PROJECTOR.parent / "blocks-1.png"
STYLES = {
    "qwen3_5": ("", "</think>", ("<think>", "</think>"), True),
    "gemma_4": ("\n", "<channel|>", ("<|channel>", "<channel|>"), True),
    "nemotron_nano_v2": ("", "</think>", ("<think>", "</think>"), False),
    "ministral_3_reasoning": ("", "[/THINK]", ("[THINK]", "[/THINK]"), True),
}
"""By template: what stands before and behind a thought, the marks, and whether one has to ask for it."""


def scripted(folder: Path, name: str, answer: str = ANSWER, *, gap: str = "\n\n") -> list[str]:
    before, behind, marks, _ = STYLES[name]
    template = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    added = {"control": marks} if name == "gemma_4" else {"added": marks}
    model = write_script(folder / f"{name}.gguf", before + THOUGHT + behind + gap + answer, template=template, **added)
    return ["-m", str(model), "--mmproj", str(PROJECTOR)]


@dataclass(frozen=True)
class Run:
    stdout: str
    stderr: str
    returncode: int


def run(folder: Path, *arguments: str, given: str = "") -> Run:
    result = run_program(*arguments, folder=folder, given=given.encode())
    return Run(result.stdout.decode(), result.stderr.decode(), result.returncode)


@pytest.mark.parametrize("name", STYLES)
def test_stdout_is_the_answer(name: str, tmp_path: Path) -> None:
    model = scripted(tmp_path, name)
    think = ["--think"] if STYLES[name][3] else []
    result = run(tmp_path, "describe", str(IMAGE), "What is it?", *model, *think)
    assert (result.stdout, result.stderr, result.returncode) == (f"{ANSWER}\n", "", 0)
    shown = run(tmp_path, "describe", str(IMAGE), "What is it?", *model, *think, "--show-thinking")
    assert (shown.stdout, shown.stderr) == (f"{ANSWER}\n", f"{THOUGHT}\n\n")
    found = json.loads(run(tmp_path, "describe", str(IMAGE), "Hm?", *model, *think, "--json").stdout)
    assert (found["text"], found["reasoning"]) == (ANSWER, THOUGHT)
    assert 0 < found["usage"]["n_thoughts"] < found["usage"]["n_generated"]


def test_a_budget_ends_the_thought(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "--think-budget", "4", "--json")
    found = json.loads(result.stdout)
    assert found["text"] == ANSWER
    assert THOUGHT.startswith(found["reasoning"])
    assert found["usage"]["n_thoughts"] == 5


def test_the_limit_is_that_of_the_answer(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "-n", "2", "--json")
    found = json.loads(result.stdout)
    assert found["reasoning"] == THOUGHT
    assert ANSWER.startswith(found["text"])
    assert (found["finish_reason"], found["stop_reason"]) == ("length", "max_tokens")


def test_a_thought_that_fills_the_context_is_no_answer(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "-c", "220")
    assert result.stdout == ""
    assert "warning: no answer: still thinking after" in result.stderr
    assert "--think-budget" in result.stderr


def test_a_shape_holds_for_the_answer_alone(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5", '{"color":"red"}', gap="")
    schema = "color: red or blue"
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "--schema", schema, "--json")
    found = json.loads(result.stdout)
    assert (found["value"], found["reasoning"]) == ({"color": "red"}, THOUGHT)


def test_what_a_model_cannot_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, "describe", str(IMAGE), "-m", "demo", "--think")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: this model does not think before it answers\n")
    model = scripted(tmp_path, "nemotron_nano_v2")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--no-think")
    assert result.returncode == 2
    assert "always thinks" in result.stderr


def test_a_chat_goes_on_without_thoughts(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    script = "What is it?\n/think on\nAnd now?\n/think show\nOnce more?\n/save chat.json\n"
    result = run(tmp_path, "chat", str(IMAGE), *model, "--no-think", given=script)
    plain, *thoughtful = result.stdout.split("\n\n" + ANSWER)
    assert plain.startswith(THOUGHT)
    saved = json.loads((tmp_path / "chat.json").read_text())
    assert [turn["answer"] for turn in saved["turns"]][1:] == [ANSWER, ANSWER] if "turns" in saved else thoughtful
    assert result.stderr.count(THOUGHT) == 1


def test_rows_have_thoughts_on_request_only(tmp_path: Path) -> None:
    for name in ("a.png", "same.png"):
        (tmp_path / name).write_bytes(IMAGE.read_bytes())
    batch = ("batch", "a.png", "same.png", *scripted(tmp_path, "nemotron_nano_v2"), "-q", "-o", "-")
    plain = list(map(json.loads, run(tmp_path, *batch).stdout.splitlines()))
    assert [row["answer"] for row in plain] == [ANSWER] * 2
    assert not any("reasoning" in row or "It may" in str(row) for row in plain)
    asked = list(map(json.loads, run(tmp_path, *batch, "--reasoning").stdout.splitlines()))
    assert [(row["answer"], row["reasoning"]) for row in asked] == [(ANSWER, THOUGHT)] * 2


def test_a_column_is_a_request_and_the_next_run_drops_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE.read_bytes())
    batch = ("batch", "a.png", *scripted(tmp_path, "nemotron_nano_v2"), "-q", "-o", "out.csv")
    assert run(tmp_path, *batch, "--columns", "reasoning,id").returncode == 0
    assert (tmp_path / "out.csv").read_text() == f'reasoning,id\n"{THOUGHT}",a.png\n'
    assert run(tmp_path, *batch).returncode == 0
    assert "It may" not in (tmp_path / "out.csv").read_text()


# -- what other commands and functions give of a model that always thinks

BOX = '[{"bbox_2d": [%d, 20, 110, 130], "label": "%s"}]'


@pytest.mark.parametrize(
    "command",
    [
        ("alt", "page.html"),
        ("ocr", "a.png", "--json"),
        ("describe", "clip.mp4", "--window", "2s", "--frames", "1"),
    ],
)
def test_no_command_prints_thoughts(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE.read_bytes())
    (tmp_path / "page.html").write_text('<img src="a.png">')
    if "clip.mp4" in command:
        sheet = PIL.Image.open(IMAGE).convert("RGB")
        write_clip(tmp_path / "clip.mp4", [(0, sheet)], 4)
    result = run(tmp_path, *command, *scripted(tmp_path, "nemotron_nano_v2"))
    assert result.returncode == 0, result.stderr
    assert ANSWER in result.stdout
    found = result.stdout + result.stderr
    assert not any(word in found for word in ("It may", "think>", "I see red"))


def test_compare_prints_no_thoughts(tmp_path: Path) -> None:
    models = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _, model, _, projector = scripted(tmp_path / name, "nemotron_nano_v2")
        shutil.copy(projector, tmp_path / name / "mmproj-F16.gguf")
        models += ["-m", str(Path(model).parent)]
    result = run(tmp_path, "compare", str(IMAGE), "What is it?", *models)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(ANSWER) == 2
    assert "It may" not in result.stdout + result.stderr


def test_boxes_are_those_of_the_answer(tmp_path: Path) -> None:
    template = (TEMPLATES / "nemotron_nano_v2.jinja").read_text(encoding="utf-8")
    script = f"Maybe {BOX % (60, 'no')}?</think>\n\n{BOX % (10, 'a red square')}"
    path = write_script(tmp_path / "a.gguf", script, template=template, added=("<think>", "</think>"))
    with VLM.load(str(path), str(PROJECTOR)) as vlm:
        found = detect(vlm, IMAGE)
    assert [box.label for box in found.boxes] == ["a red square"]


def test_labels_are_scored_as_answers_and_not_as_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template of this model leaves a thought open behind the prompt."""
    _, model, _, projector = scripted(tmp_path, "nemotron_nano_v2")
    with VLM.load(model, projector) as vlm:
        submit, asked = vlm.submit, []
        monkeypatch.setattr(vlm, "submit", lambda request, *more: asked.append(request) or submit(request, *more))
        assert {one.label for one in classify(vlm, IMAGE, ["red", "blue"]).classes} == {"red", "blue"}
    prompts = ["".join(part.text for part in request.parts if isinstance(part, TextPart)) for request in asked]
    assert prompts
    assert all(prompt.rstrip().endswith("</think>") and prompt.count("<think>") == 1 for prompt in prompts)


def test_python_and_spark_have_answers_without_thoughts(tmp_path: Path) -> None:
    _, model, _, projector = scripted(tmp_path, "nemotron_nano_v2")
    with VLM.load(model, projector) as vlm:
        answer = vlm.describe(IMAGE, "What is it?")
        assert (str(answer), answer.text, answer.reasoning) == (ANSWER, ANSWER, THOUGHT)
        messages = [{"role": "user", "content": [{"type": "image", "path": IMAGE}, {"type": "text", "text": "Hm?"}]}]
        thoughts: list[str] = []
        stream = vlm.stream(messages)
        stream.on_thought = thoughts.append
        assert ("".join(stream), "".join(thoughts)) == (ANSWER, THOUGHT)
        assert [result.answer.text for result in vlm.map([Question(images=IMAGE, prompt="Hm?")]) if result.answer] == [
            ANSWER
        ]
        assert Chat(vlm).send("What is it?", [IMAGE]).text == ANSWER
        assert [page.text for page in ocr(vlm, IMAGE)] == [ANSWER]
    job = SparkJob(
        image_col="image",
        prompt_col=None,
        output_col="answer",
        error_col="error",
        model=model,
        mmproj=projector,
        config=EngineConfig(),
        sampling={},
        prompt="Hm?",
        system=None,
        n_ahead=None,
        as_annotations=False,
    )
    batch = pa.RecordBatch.from_pydict({"image": [IMAGE.read_bytes()]})
    (found,) = answer_batches(iter([batch]), job)
    assert found.column("answer").to_pylist() == [ANSWER]
