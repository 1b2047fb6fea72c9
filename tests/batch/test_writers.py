"""CSV, Parquet, sidecars and the gallery, read by others' tools."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.durable_write import TargetError, as_target_error
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import COLUMNS, Row
from ggufvlm.batch.outputs.gallery import write_gallery
from ggufvlm.batch.outputs.sidecar import Sidecars, SidecarStyle
from ggufvlm.batch.outputs.writers import find_writer, journal_path, parse_columns, with_reasoning
from ggufvlm.errors import OutputError, UsageError
from ggufvlm.media.metadata.xmp import described, description, keywords
from tests.batch.conftest import draw_scenes

NASTY = 'a "quoted", comma;\nnew line\t\u2028 <script>alert(1)</script> \N{CAT} =1+1'


def row(name: str, answer: str | None = NASTY, **more: Any) -> Row:
    found: Row = dict.fromkeys(COLUMNS)
    error = None if answer is not None else {"class": "ImageError", "text": f"{name}: <b>cut</b> off"}
    return found | {"id": name, "path": name, "answer": answer, "width": 4, "time_encode": 0.5, "error": error} | more


ROWS = [row("a.png"), row("b.png", None), row("c.png", "")]


def write(name: str) -> Path:
    writer = find_writer(Path(name))
    assert writer is not None
    writer(Path(name), iter(ROWS))
    return Path(name)


def test_csv(folder: Path) -> None:
    with write("out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [line["answer"] for line in found] == [NASTY, "", ""]
    assert (found[1]["error_class"], found[1]["error_text"]) == ("ImageError", "b.png: <b>cut</b> off")


def test_csv_that_no_spreadsheet_computes(folder: Path) -> None:
    answers = ["=1+1", "+1", "-a list", "@cmd", "\tx", "plain = text", "", "'quoted"]
    writer = find_writer(Path("out.tsv"), csv_safe=True)
    assert writer is not None
    writer(Path("out.tsv"), [row("=a.png", answer, seed=-5) for answer in answers])
    with Path("out.tsv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    assert [line["answer"] for line in found] == [f"'{text}" for text in answers[:5]] + answers[5:]
    assert (found[0]["id"], found[0]["seed"]) == ("'=a.png", "-5")
    with pytest.raises(UsageError, match="--csv-safe"):
        find_writer(Path("out.parquet"), csv_safe=True)


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.parquet"])
def test_answers_come_first_and_columns_can_be_chosen(folder: Path, name: str) -> None:
    import pandas

    def columns(*wanted: str) -> list[str]:
        writer = find_writer(Path(name), columns=wanted)
        assert writer is not None
        writer(Path(name), iter(ROWS))
        frame = pandas.read_parquet(name) if name.endswith("t") else pandas.read_csv(name, sep=",\t"[name == "out.tsv"])
        assert frame["answer"][0] == NASTY
        return list(frame.columns)

    everything = columns()
    assert everything[:3] == ["id", "answer", "path"]
    assert {*everything} == {*COLUMNS, "error_class", "error_text"} - {"error"}
    assert columns("error_text", "answer", "id") == ["error_text", "answer", "id"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_thoughts_stand_behind_answers_on_request(folder: Path, name: str) -> None:
    """Rows of an earlier run may have none."""
    import pandas

    rows = [ROWS[0] | {"reasoning": "It may be."}, *ROWS[1:]]
    for wanted, expected in (
        (with_reasoning(()), ["id", "answer", "reasoning", "path"]),
        ((), ["id", "answer", "path"]),
    ):
        writer = find_writer(Path(name), columns=wanted)
        assert writer is not None
        writer(Path(name), iter(rows))
        frame = pandas.read_parquet(name) if name.endswith("t") else pandas.read_csv(name)
        assert list(frame.columns)[: len(expected)] == expected
        assert list(frame.get("reasoning", default=[]))[:1] == ["It may be."][: "reasoning" in expected]
    assert with_reasoning(("id", "answer")) == ("id", "answer", "reasoning")


def test_columns_that_do_not_exist() -> None:
    assert parse_columns(" answer, id,answer ") == ("answer", "id")
    with pytest.raises(UsageError, match="anwser") as told:
        parse_columns("id,anwser")
    assert told.value.hint == "did you mean answer?"
    for given in ("", " , ", "id,error"):
        with pytest.raises(UsageError, match="--columns"):
            parse_columns(given)
    with pytest.raises(UsageError, match="--columns is for"):
        find_writer(Path("out.jsonl"), columns=("id",))


def test_csv_and_parquet_in_pandas_and_duckdb(folder: Path) -> None:
    import duckdb
    import pandas

    write("out.csv"), write("out.parquet")
    for frame in (pandas.read_csv("out.csv"), pandas.read_parquet("out.parquet")):
        assert (len(frame), frame["answer"][0], frame["error_class"][1]) == (3, NASTY, "ImageError")
    found = duckdb.sql("select answer, error_class, width from 'out.parquet' order by id").fetchall()
    assert found[0] == (NASTY, None, 4)


def test_jsonl_in_pandas_and_duckdb(folder: Path) -> None:
    with Journal(Path("out.jsonl")) as journal:
        for item in ROWS:
            journal.append(item)
    import duckdb
    import pandas

    assert pandas.read_json("out.jsonl", lines=True)["answer"][0] == NASTY
    assert duckdb.sql("select answer from 'out.jsonl' where id = 'a.png'").fetchall() == [(NASTY,)]


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is missing")
def test_jsonl_in_jq(folder: Path) -> None:
    with Journal(Path("out.jsonl")) as journal:
        for item in ROWS:
            journal.append(item)
    command = ["jq", "-j", 'select(.id == "a.png") | .answer', "out.jsonl"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == NASTY


def test_an_empty_parquet_file_has_its_columns(folder: Path) -> None:
    import pyarrow.parquet as pq

    find_writer(Path("out.parquet"))(Path("out.parquet"), iter([]))  # type: ignore[misc]
    assert "answer" in pq.read_table("out.parquet").column_names


def test_where_the_rows_are_kept() -> None:
    assert journal_path(Path("a.jsonl")) == Path("a.jsonl")
    assert journal_path(Path("d/a.csv")) == Path("d/a.csv.journal.jsonl")
    with pytest.raises(UsageError, match=r"a\.xlsx"):
        find_writer(Path("a.xlsx"))


# -- sidecars


def sidecar(folder: Path, before: str | None = None, answer: str | None = " A cat. ", **style: Any) -> str | None:
    target = folder / "cat.txt"
    if before is not None:
        target.write_text(before)
    item = Item(id="cat", path="cat.jpg", sources=(folder / "cat.jpg",))
    with Journal(folder / "j.jsonl") as journal:
        Sidecars(SidecarStyle(kind="txt", **style), journal)(item, row("cat", answer))
    return target.read_text() if target.exists() else None


@pytest.mark.parametrize(
    ("style", "before", "after"),
    [
        ({}, None, "A cat.\n"),
        ({"prefix": "<", "suffix": ">", "trigger_word": "sks"}, None, "sks, <A cat.>\n"),
        ({}, "old\n", "A cat.\n"),
        ({"existing": "skip"}, "old\n", "old\n"),
        ({"existing": "append"}, "old", "old\nA cat.\n"),
        ({"existing": "append"}, None, "A cat.\n"),
    ],
)
def test_text_sidecars(folder: Path, style: dict[str, Any], before: str | None, after: str) -> None:
    assert sidecar(folder, before, **style) == after
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [], "nothing half written stays"


def test_errors_leave_sidecars_alone(folder: Path) -> None:
    assert sidecar(folder, "old", answer=None) == "old"


def test_a_sidecar_that_cannot_be_written_is_counted_and_the_next_one_is_made(folder: Path) -> None:
    (folder / "a.txt").mkdir()
    told: list[str] = []
    with Journal(folder / "j.jsonl") as journal:
        write_it = Sidecars(SidecarStyle(kind="txt"), journal)
        write_it.on_problem = told.append
        for name in ("a", "b" * 252, "gone/c", "d"):
            write_it(Item(id=name, path=name, sources=(folder / f"{name}.jpg",)), row(name, "A cat."))
    assert (write_it.n_written, write_it.n_failed) == (1, 3)
    assert (folder / "d.txt").read_text() == "A cat.\n"
    assert "a.txt" in told[0]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("are_known", [False, True])
@pytest.mark.parametrize("kind", ["txt", "json", "xmp"])
def test_two_images_of_one_name_have_a_sidecar_each(folder: Path, are_known: bool, kind: Any) -> None:
    names, said = ["x.png", "x.jpg", "y.png", "x.pdf"], {}
    with Journal(folder / "j.jsonl") as journal:
        for round in ("first", "second"):
            write_it = Sidecars(SidecarStyle(kind=kind), journal, [folder / name for name in names if are_known])
            for name in names[:3]:
                said[name] = f"The {round} of {name}."
                write_it(Item(id=name, path=name, sources=(folder / name,)), row(name, said[name]))
            assert (write_it.n_written, write_it.n_failed) == (3, 0)
            if round == "first":
                assert write_it.with_ending == folder / (f"x.png.{kind}" if are_known else f"x.jpg.{kind}")
    found = {path.name: path.read_text() for path in folder.glob(f"*.{kind}")}
    assert set(found) == {f"x.png.{kind}" if are_known else f"x.{kind}", f"x.jpg.{kind}", f"y.{kind}"}
    assert said["x.jpg"] in found[f"x.jpg.{kind}"]
    assert said["x.png"] in found[f"x.png.{kind}" if are_known else f"x.{kind}"]


def test_two_questions_about_one_image_do_not_overwrite_each_other(folder: Path) -> None:
    told: list[str] = []
    with Journal(folder / "j.jsonl") as journal:
        write_it = Sidecars(SidecarStyle(kind="txt"), journal)
        write_it.on_problem = told.append
        for name, answer in (("1", "A cat."), ("2", "A dog."), ("1", "A cat again.")):
            write_it(Item(id=name, path="x", sources=(folder / "x.png",)), row(name, answer))
    assert (folder / "x.txt").read_text() == "A cat again.\n"
    assert told == [f"not written: {folder / 'x.txt'}: belongs to 1"]
    assert write_it.n_failed == 1


def test_sidecars_go_through_no_link_out_of_the_folder_and_into_no_pipe(folder: Path) -> None:
    draw_scenes(folder / "far", 1)
    draw_scenes(folder / "d", 3)
    (folder / "key").write_text("private")
    (folder / "d/far").symlink_to("../far")
    (folder / "d/s000.txt").symlink_to("../key")
    os.mkfifo(folder / "d/s001.txt")
    with Journal(folder / "j.jsonl") as journal:
        write_it = Sidecars(SidecarStyle(kind="txt", existing="append"), journal)
        for item in Inputs(["d"]):
            write_it(item, row(item.id, "A cat."))
    assert (write_it.n_written, write_it.n_failed) == (1, 3)
    assert (folder / "d/s002.txt").read_text() == "A cat.\n"
    assert ((folder / "key").read_text(), (folder / "d/s000.txt").is_symlink()) == ("private", True)
    assert [path.name for path in (folder / "far").iterdir()] == ["s000.png"]


@pytest.mark.parametrize(
    ("number", "ends_the_run"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, True), (errno.EPERM, False), (errno.ENAMETOOLONG, False)],
)
def test_only_a_disk_that_is_full_or_fails_says_something_about_other_files(number: int, ends_the_run: bool) -> None:
    with pytest.raises(OutputError, match=r"photo\.txt: cannot be written") as told, as_target_error("photo.txt"):
        raise OSError(number, "no")
    assert isinstance(told.value, TargetError) is not ends_the_run


def test_json_sidecars(folder: Path) -> None:
    item = Item(id="cat", path="cat.jpg", sources=(folder / "cat.jpg",))
    with Journal(folder / "j.jsonl") as journal:
        Sidecars(SidecarStyle(kind="json"), journal)(item, row("cat", "A cat."))
        Sidecars(SidecarStyle(kind="json"), journal)(Item(id="u", path=None, sources=(b"",)), row("u"))
    assert json.loads((folder / "cat.json").read_text())["answer"] == "A cat."


def test_a_sidecar_that_a_killed_run_did_not_write_is_made_up_for(folder: Path) -> None:
    item = Item(id="cat", path="cat.jpg", sources=(folder / "cat.jpg",))
    with Journal(folder / "j.jsonl") as journal:
        journal.append(row("cat", "A cat."))
        write_it = Sidecars(SidecarStyle(kind="txt"), journal)
        write_it(item, None)
        assert (folder / "cat.txt").read_text() == "A cat.\n"
        (folder / "cat.txt").write_text("mended by hand")
        write_it(item, None)
    assert (folder / "cat.txt").read_text() == "mended by hand"


def test_the_xmp_file_of_another_program_is_the_sidecar(folder: Path) -> None:
    item = Item(id="cat", path="cat.jpg", sources=(folder / "cat.jpg",))
    theirs = described(None, "").replace(b"dc:description", b"dc:rights")
    (folder / "cat.jpg.xmp").write_bytes(theirs)
    with Journal(folder / "j.jsonl") as journal:
        journal.append(row("cat", "A cat."))
        write_it = Sidecars(SidecarStyle(kind="xmp"), journal)
        write_it(item, None)  # as after a run that was killed in between
        assert description((folder / "cat.jpg.xmp").read_bytes()) == "A cat."
        write_it(item, row("cat", "Two cats."))
        write_it(item, None)
    assert not (folder / "cat.xmp").exists()
    assert description((folder / "cat.jpg.xmp").read_bytes()) == "Two cats."
    assert b"dc:rights" in (folder / "cat.jpg.xmp").read_bytes()


def test_keywords_in_xmp_files(folder: Path) -> None:
    item = Item(id="cat", path="cat.jpg", sources=(folder / "cat.jpg",))
    (folder / "cat.xmp").write_bytes(described(described(None, ("mine", "Cat")), "by hand"))
    with Journal(folder / "j.jsonl") as journal:
        Sidecars(SidecarStyle(kind="xmp", keywords=True), journal)(item, row("cat", "cat, red sofa"))
    assert keywords((folder / "cat.xmp").read_bytes()) == ("mine", "Cat", "red sofa")
    assert description((folder / "cat.xmp").read_bytes()) == "by hand"


# -- the gallery


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_gallery_shows_images_answers_and_errors(folder: Path) -> None:
    shots = draw_scenes(folder / "shots", 2)
    rows = [row(str(path), image="x") for path in sorted(shots.iterdir())]
    write_gallery(folder / "g.html", [*rows, row("b.png", None)], title="<My> images")
    text = (folder / "g.html").read_text(encoding="utf-8")
    page = Page(text)
    images = [values for tag, values in page.tags if tag == "img"]
    assert [str(values["src"])[:22] for values in images] == ["data:image/jpeg;base64"] * 2
    assert all(values["alt"] == NASTY for values in images)
    assert sum(tag == "script" for tag, _ in page.tags) == 1, "an answer is text, whatever stands in it"
    assert NASTY.replace("\r", "") in page.shown
    assert "b.png: <b>cut</b> off" in page.shown
    assert "<My> images" in page.shown
    addresses = [values.get(name) for _, values in page.tags for name in ("src", "href") if values.get(name)]
    assert all(str(address).startswith("data:") for address in addresses), "nothing is asked of the network"


def test_the_policy_of_the_page_allows_its_own_script_only(folder: Path) -> None:
    import base64
    import hashlib

    write_gallery(folder / "g.html", [], title="t")
    text = (folder / "g.html").read_text(encoding="utf-8")
    script = text.split("<script>")[1].split("</script>")[0]
    style = text.split("<style>")[1].split("</style>")[0]
    for part in (script, style):
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in text
