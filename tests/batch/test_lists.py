"""Lists and tables as programs and people write them: own outputs, spreadsheets, odd names, NUL between paths."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from ggufvlm import InputError, SamplingParams, UsageError
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.cells import Columns
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import COLUMNS, Row
from ggufvlm.batch.outputs.writers import write_csv, write_parquet
from ggufvlm.batch.run.run import RowTask
from ggufvlm.batch.run.session import EngineSettings, OutputSettings, Session
from ggufvlm.models.resolve import find_model
from tests.batch.conftest import CONFIG

BASE64_LIKE = "A" * 63 + "b"


def row(name: str) -> Row:
    asked = {"image": "ab" * 32, "prompt": "Old?", "answer": "A cat.", "finish_reason": "stop", "settings_hash": "x"}
    return dict.fromkeys(COLUMNS) | {"id": name, "path": name, "prompt_hash": "cd" * 16} | asked


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_rows_of_another_run_are_inputs(folder: Path, ending: str) -> None:
    Path("d").mkdir()
    out, rows = Path("d") / f"out.{ending}", [row("a.png"), row("=b.png")]
    Path("a.png").touch()
    Path("=b.png").touch()
    if ending == "jsonl":
        with Journal(out) as journal:
            journal.append(rows[0])
            journal.append(rows[1])
    elif ending == "parquet":
        write_parquet(out, rows)
    else:
        write_csv(out, rows, safe=True)
    found = list(Inputs([str(out)]))
    assert [(item.error, item.sources, item.prompt) for item in found] == [
        (None, (Path(name),), "Old?") for name in ("a.png", "=b.png")
    ]
    assert next(iter(Inputs([str(out)], columns=Columns(guesses_prompt=False)))).prompt is None


def test_a_row_about_a_page_is_no_input(folder: Path) -> None:
    lines = [row("a.pdf") | {"page": 3}, row("a.mp4") | {"time": 0.0}]
    Path("t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert all("a page or frame" in str(item.error) for item in Inputs(["t.jsonl"]))


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_an_output_is_not_its_own_input(folder: Path, name: str) -> None:
    with Journal(Path("t.jsonl")) as journal:
        journal.append(row("a.png"))
    write_csv(Path("t.csv"), [row("a.png")])
    before = Path(name).read_bytes()
    Path(f"link-{name}").symlink_to(name)
    engine = EngineSettings(files=find_model("demo"), config=CONFIG, sampling=SamplingParams())
    output = OutputSettings(path=Path(name), restart=True)
    for argument in (name, f"link-{name}"):
        with pytest.raises(UsageError, match="would write over"):
            Session(Inputs([argument]), RowTask(template=parse("Hi")), engine, output)
    assert Path(name).read_bytes() == before


def test_a_hash_is_told_with_its_column(folder: Path) -> None:
    Path("t.csv").write_text(f"photo,n\n{'0a' * 32},1\n")
    (item,) = Inputs(["t.csv"])
    assert "column 'photo' holds a hash" in str(item.error)


@pytest.mark.parametrize("name", [BASE64_LIKE, "ab" * 32, "{a}.png", " a.png", "~a.png", "\ufeffa.png", "'a.png"])
def test_an_existing_file_wins(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(name).touch()
    with Path("t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "image_base64"], [name, ""]])
    Path("u.jsonl").write_text(json.dumps({"base64": name}))
    Path("l.txt").write_text(f"\n{name}\r\n", encoding="utf-8")
    for table in ("t.csv", "u.jsonl", "l.txt"):
        assert [item.sources for item in Inputs([table])] == [(Path(name),)], table
    for null_separated, text in ((False, f"{name}\n"), (True, f"{name}\0")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert [item.sources for item in Inputs(["-"], null_separated=null_separated)] == [(Path(name),)]


def test_marks_and_blanks_around_names_are_no_part_of_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.png").touch()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa.png\n  a.png \r\n")))
    assert [item.sources for item in Inputs(["-"])] == [(Path("a.png"),)] * 2
    Path("t.csv").write_text(" image ;n\n a.png ;1\n")
    assert [item.sources for item in Inputs(["t.csv"])] == [(Path("a.png"),)]


CELLS = [["image", "prompt", "größe"], ["café.png", "Was zeigt „es“?", "5 €"], ["", "", ""], ["b.png", "Hä?", ""]]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_of_spreadsheets(folder: Path, encoding: str, delimiter: str) -> None:
    Path("café.png").touch()
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([*CELLS, ["b.png", "x", "y", "", ""]])
    start = f"sep={delimiter}\r\n" if delimiter == "|" else ""
    Path("t.csv").write_bytes((start + text.getvalue()).encode(encoding))
    if encoding == "utf-16-le":
        with pytest.raises(InputError, match="UTF-16 without its mark"):
            Inputs(["t.csv"])
        return
    given = Inputs(["t.csv"])
    found = list(given)
    assert (given.count, [item.path for item in found]) == (3, ["café.png", "b.png", "b.png"])
    assert [item.prompt for item in found] == ["Was zeigt „es“?", "Hä?", "x"]
    assert found[0].fields["größe"] == "5 €"
    assert all(item.error is None for item in found)


def test_names_in_the_code_of_the_file_system(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path(name).touch()
    Path("t.csv").write_bytes(b"image\ncaf\xe9.png\n")
    assert [item.sources for item in Inputs(["t.csv"])] == [(Path(name),)]


def test_lists_of_paths_start_where_they_lie(folder: Path) -> None:
    Path("d").mkdir()
    Path("d/a.png").touch()
    Path("d/list.txt").write_text("a.png\n\nno.png\n")
    assert [item.path for item in Inputs(["d/list.txt"])] == ["d/a.png", "d/no.png"]
    Path("image.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [item.path for item in Inputs(["image.txt"])] == ["image.txt"]


@pytest.mark.parametrize("name", ["t.xlsx", "t.xls", "t.ods"])
def test_spreadsheets_are_refused_with_a_word(folder: Path, name: str) -> None:
    Path(name).write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match=f"{name}.*CSV"):
        Inputs([name])
    Path("a.png").touch()
    found = list(Inputs([name, "a.png"]))
    assert ["CSV" in str(item.error) for item in found] == [True, False], "photos/* may hold one"


def test_nul_between_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["new\nline.png", *(f"{number:04}.png" for number in range(2000)), "last.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\0".join(names).encode())))
    assert [item.path for item in Inputs(["-"], null_separated=True)] == names
    with pytest.raises(UsageError, match="--null"):
        Inputs(["a.png"], null_separated=True)
