"""Rows are where the output's name says, or the run says that they are not: deleted, moved, replaced, cut, taken."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, OutputError, SamplingParams, UsageError
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import COLUMNS, Row
from ggufvlm.batch.run.run import Progress, RowTask
from ggufvlm.batch.run.session import EngineSettings, OutputSettings, Session
from ggufvlm.models.resolve import find_model
from tests.batch.conftest import CONFIG

OUT = Path("d/out.jsonl")


def row(name: str, answer: str = "A cat.") -> Row:
    return dict.fromkeys(COLUMNS) | {"id": name, "path": name, "answer": answer}


def ids(path: Path = OUT) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def journal(folder: Path) -> Any:
    with Journal(OUT) as journal:
        for name in "abc":
            journal.append(row(name))
        yield journal


@pytest.mark.parametrize("taken", [OUT, OUT.parent])
def test_a_deleted_output_is_written_anew(journal: Journal, taken: Path) -> None:
    shutil.rmtree(taken) if taken.is_dir() else taken.unlink()
    journal.append(row("d"))
    journal.sync()
    assert ids() == ["a", "b", "c", "d"]
    journal.append(row("e"))
    journal.sync()
    assert ids() == ["a", "b", "c", "d", "e"]


def test_an_output_that_was_moved_away_is_there_again(journal: Journal) -> None:
    OUT.rename("kept.jsonl")
    journal.put_in_order(["c"])
    journal.sync()
    assert (ids(), ids(Path("kept.jsonl"))) == (["c", "a", "b"], ["a", "b", "c"])


def test_another_file_in_its_place_is_not_touched_and_the_rows_lie_beside(journal: Journal) -> None:
    OUT.unlink()
    OUT.write_text("mine\n")
    Path("d/out.jsonl.rescued").write_text("mine, too\n")
    journal.append(row("d"))
    with pytest.raises(OutputError, match="another file took its place") as told:
        journal.sync()
    assert "d/out.jsonl.rescued2" in (told.value.hint or "")
    assert (OUT.read_text(), Path("d/out.jsonl.rescued").read_text()) == ("mine\n", "mine, too\n")
    assert ids(Path("d/out.jsonl.rescued2")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("change", ["w", "a"])
def test_an_output_that_somebody_else_writes_to_is_told(journal: Journal, change: str) -> None:
    with OUT.open(change) as file:
        file.write("x" * (change == "a"))
    with pytest.raises(OutputError, match="another program changed it"):
        journal.append(row("d"))
    with pytest.raises(OutputError, match="another program changed it"):
        journal.sync()


def test_a_running_output_is_not_renamed(journal: Journal) -> None:
    with pytest.raises(UsageError, match="another run"):
        Journal(OUT, restart=True)
    assert [path.name for path in OUT.parent.iterdir()] == ["out.jsonl"]


def test_an_empty_output_does_not_take_the_place_of_the_one_that_is_kept(journal: Journal) -> None:
    journal.close()
    for _ in range(2):
        Journal(OUT, restart=True).close()
    assert (ids(), ids(Path("d/out.jsonl.bak"))) == ([], ["a", "b", "c"])


def test_the_lock_is_held_while_rows_are_put_in_order(journal: Journal) -> None:
    for wanted in (["c"], ["b"]):
        journal.put_in_order(wanted)
        with pytest.raises(UsageError, match="another run"):
            Journal(OUT)
        journal.append(row(f"{wanted}"))
        journal.sync()
    assert ids() == ["b", "c", "a", "['c']", "['b']"]


def test_a_link_stays_a_link_and_its_file_gets_the_rows(folder: Path) -> None:
    Path("d").mkdir()
    Path("real.jsonl").touch()
    OUT.symlink_to("../real.jsonl")
    with Journal(OUT) as journal:
        journal.append(row("a"))
        journal.append(row("b"))
        journal.put_in_order(["b"])
        with pytest.raises(UsageError, match="another run"):
            Journal(Path("real.jsonl"))
    assert OUT.is_symlink()
    assert ids(Path("real.jsonl")) == ["b", "a"]


def test_an_output_keeps_its_permissions(journal: Journal) -> None:
    OUT.chmod(0o600)
    journal.put_in_order(["c"])
    assert OUT.stat().st_mode & 0o777 == 0o600


def test_runs_that_take_turns_lose_nothing(folder: Path) -> None:
    written: list[str] = []

    def work(number: int) -> None:
        turn = 0
        while turn < 8:
            try:
                with Journal(OUT, sync_every=60) as journal:
                    journal.append(row(f"{number}.{turn}"))
                    journal.append(row("same"))
                    journal.put_in_order(["same"])
                    journal.append(row(f"{number}.{turn}b"))
                written.extend([f"{number}.{turn}", f"{number}.{turn}b"])
                turn += 1
            except UsageError:
                time.sleep(0.001)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(written) == 64
    assert sorted(ids()) == sorted(["same", *written])


def test_a_run_whose_output_is_deleted_still_has_all_rows(eight: Path, demo4: VLM) -> None:
    files = find_model("demo")
    engine = EngineSettings(files=files, config=CONFIG, sampling=SamplingParams(max_tokens=8), isolate=False)
    output = Path("out.csv")

    def take_it_away(progress: Progress) -> None:
        if progress.done == 3:
            Path("out.csv.journal.jsonl").unlink()

    with Session(Inputs([str(eight)]), RowTask(template=parse("Hi")), engine, OutputSettings(path=output)) as session:
        session.run(take_it_away, lambda _stack: demo4.map)  # type: ignore[arg-type,return-value]
    assert len(output.read_text().splitlines()) == len(ids(Path("out.csv.journal.jsonl"))) + 1 == 9


def test_beginning_anew_beside_a_running_one_renames_nothing(eight: Path) -> None:
    engine = EngineSettings(files=find_model("demo"), config=CONFIG, sampling=SamplingParams())
    Path("out.csv").write_text("theirs\n")
    with Journal(Path("out.csv.journal.jsonl")) as running, ExitStack() as stack:
        running.append(row("a"))
        with pytest.raises(UsageError, match="another run"):
            stack.enter_context(
                Session(
                    Inputs([str(eight)]),
                    RowTask(template=parse("Hi")),
                    engine,
                    OutputSettings(path=Path("out.csv"), restart=True),
                )
            )
        running.append(row("b"))
        running.sync()
    assert (Path("out.csv").read_text(), ids(Path("out.csv.journal.jsonl"))) == ("theirs\n", ["a", "b"])
