"""The snippets of README and guide do what they show, with the built-in model as the user's default."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ggufvlm.cli.main import app
from tests.support.pages import Stage, name_of, pipelines, snippets

NEEDS_MORE = {"serve", "pull", "rm", "verify", "bench"}
"""Commands that need the Hub, files of real models, a client, or minutes."""
NEEDS_MORE_WORDS = ("http://", "https://", "clipboard:", "--run", "model-F16.gguf")
ANSWERS = {"chat", "classify", "demo", "describe", "help", "list", "show"}
"""Commands that always have something to say on stdout."""
HAS_MODEL = {"demo", "model.gguf"}


def runs_offline(words: list[str]) -> bool:
    models = {value for option, value in pairwise(words) if option in ("-m", "--model")}
    return (
        words[0] == "ggufvlm"
        and words[1] not in NEEDS_MORE
        and words != ["ggufvlm", "doctor"]
        and not any(word.startswith(NEEDS_MORE_WORDS) for word in words)
        and models <= HAS_MODEL
    )


def stdin_of(pipeline: list[Stage], number: int) -> bytes | None:
    """What the stages before a stage write, or its redirected file."""
    redirected = pipeline[number].stdin
    if redirected is not None:
        return Path(redirected).read_bytes()
    given = b"What is on the left?\n" if pipeline[0].words[1] == "chat" else None
    for stage in pipeline[:number]:
        given = subprocess.run(stage.words, input=given, capture_output=True, check=True).stdout
    return given


RUN = [
    pytest.param(pipeline, number, id=f"{name_of(snippet.page)}: {' '.join(stage.words)}")
    for snippet in snippets("sh")
    for pipeline in pipelines(snippet.text)
    for number, stage in enumerate(pipeline)
    if runs_offline(stage.words) and (number == 0 or sys.platform != "win32")  # where cat and find are others
]


@pytest.mark.parametrize(("pipeline", "number"), RUN)
def test_the_command_runs(folder: Path, pipeline: list[Stage], number: int) -> None:
    words = pipeline[number].words[1:]
    done = CliRunner().invoke(app, words, input=stdin_of(pipeline, number))
    assert done.exit_code == 0, f"{done.exception!r}\n{done.output}"
    assert done.stdout or words[0] not in ANSWERS


def test_most_commands_of_the_guide_run_here() -> None:
    assert len(RUN) > 40


PYTHON = snippets("python")
SPARK = [snippet for snippet in PYTHON if "spark" in snippet.text]


@pytest.mark.parametrize("snippet", [s for s in PYTHON if s not in SPARK], ids=lambda snippet: snippet.id)
def test_the_python_snippet_runs(folder: Path, snippet, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet.text, snippet.id, "exec"), {"__name__": "snippet"})
    assert "print" not in snippet.text or capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    pytest.importorskip("pyspark", reason="the extra [spark] is not installed")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("Spark needs Java")
    from pyspark.sql import SparkSession

    patch = pytest.MonkeyPatch()
    patch.setenv("PYSPARK_PYTHON", sys.executable)
    patch.setenv("GGUFVLM_CACHE_DIR", str(tmp_path_factory.mktemp("spark") / "cache"))
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()
    patch.undo()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of pyspark's own
@pytest.mark.parametrize("snippet", SPARK, ids=lambda snippet: snippet.id)
def test_the_spark_snippet_runs(folder: Path, snippet, spark: object, capsys: pytest.CaptureFixture[str]) -> None:
    code = snippet.text.replace('"a.png"', f'"{folder}/a.png"')  # workers run elsewhere
    exec(compile(code, snippet.id, "exec"), {"spark": spark})
    assert ".show(" not in snippet.text or "blue column" in capsys.readouterr().out
