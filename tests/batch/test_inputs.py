"""Arguments -> inputs: folders, patterns, tables, standard input, and names that are hard to write down."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import sys
from pathlib import Path

import pytest

from ggufvlm import GGUFVLMError, ImageError, InputError, SamplingParams, UsageError
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.cells import Columns
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.inputs.walk import Filter
from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.identity import Identity
from ggufvlm.batch.journal.index import JournalLine
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import failed
from ggufvlm.batch.run.prefetch import Looker
from tests.batch.conftest import scene

IDENTITY = Identity(model="m", model_hash="", mmproj_hash="", sampling=SamplingParams(), settings_hash="")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def ids(*arguments: str, wanted: Filter | None = None, columns: Columns | None = None) -> list[str]:
    return [item.id for item in Inputs(arguments, wanted, columns)]


def items(*arguments: str, columns: Columns | None = None) -> list[Item]:
    return list(Inputs(arguments, columns=columns))


def test_a_folder_is_all_below_it_in_natural_order(folder: Path) -> None:
    touch("d/10.png", "d/2.jpg", "d/b/1.webp", "d/notes.txt", "d/.hidden.png", "d/.git/x.png", "d/a/B.PNG")
    assert ids("d") == ["d/2.jpg", "d/10.png", "d/a/B.PNG", "d/b/1.webp"]
    assert Inputs(["d"]).count == 4


def test_include_and_exclude(folder: Path) -> None:
    touch("d/a.png", "d/a.dat", "d/thumbs/a.png", "d/b/a_s.png", "d/b/a.png")
    assert ids("d", wanted=Filter(["*.dat"])) == ["d/a.dat"]
    assert ids("d", wanted=Filter(exclude=["thumbs", "*_s.png"])) == ["d/a.png", "d/b/a.png"]
    assert ids("d", wanted=Filter(["b/*"])) == ["d/b/a.png", "d/b/a_s.png"]
    assert ids("d/a.dat", wanted=Filter(["*.png"])) == ["d/a.dat"], "a file that is named is meant"


def test_patterns(folder: Path) -> None:
    touch("d/a.png", "d/b.jpg", "d/e/c.png", "d/n.txt")
    assert ids("d/*.png") == ["d/a.png"]
    assert ids("d/**/*.png") == ["d/a.png", "d/e/c.png"]
    assert ids("d/*") == ["d/a.png", "d/b.jpg", "d/e/c.png"]


def test_a_file_that_several_arguments_name_is_one_input(folder: Path) -> None:
    touch("d/a.png", "d/b.png")
    assert ids("d", "d/a.png", "d/*.png", "./d/../d/b.png") == ["d/a.png", "d/b.png"]


def test_links_are_followed_once(folder: Path) -> None:
    touch("d/a.png", "elsewhere/b.png")
    Path("d/loop").symlink_to(folder / "d")
    Path("d/more").symlink_to(folder / "elsewhere")
    Path("d/again").symlink_to(folder / "elsewhere")
    assert sorted(ids("d")) == ["d/a.png", "d/again/b.png"]


def test_what_only_looks_like_an_image_is_told_not_left_out(folder: Path) -> None:
    touch("d/a.png", "d/full.jpg/b.png")
    Path("d/empty.jpg").mkdir()
    Path("d/nowhere.png").symlink_to("gone.png")
    os.mkfifo("d/pipe.png")
    found = {item.id: item.error for item in Inputs(["d"])}
    assert set(found) == {"d/a.png", "d/full.jpg/b.png", "d/empty.jpg", "d/nowhere.png", "d/pipe.png"}
    assert "not a regular file" in str(found["d/pipe.png"])


@pytest.mark.parametrize("argument", ["none.png", "none/", "*.png", "d"])
def test_an_argument_that_names_nothing_is_an_error(folder: Path, argument: str) -> None:
    Path("d").mkdir()
    with pytest.raises(ImageError, match=argument.strip("*")):
        Inputs([argument])


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_names_that_are_not_utf8(folder: Path) -> None:
    (folder / "d").mkdir()
    Path(os.fsdecode(b"d/caf\xe9.png")).touch()
    Path("d/new\nline.png").touch()
    assert ids("d") == ["d/caf\\xe9.png", "d/new\nline.png"]
    assert json.loads(json.dumps(ids("d"), ensure_ascii=False).encode("utf-8")) == ids("d")


# -- tables


def table(name: str, text: str | bytes) -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def test_columns_are_guessed(folder: Path) -> None:
    touch("a.png")
    name = table("t.csv", 'ID,File_Name,Question,system,note\n7,a.png,"What, is it?",Be brief.,x\n')
    (item,) = items(name)
    assert (item.id, item.path, item.prompt, item.system) == ("7", "a.png", "What, is it?", "Be brief.")
    assert item.fields["note"] == "x"


def test_columns_are_named(folder: Path) -> None:
    touch("a.png")
    name = table("t.tsv", "pic\task\twho\na.png\tWhat?\tme\n")
    (item,) = items(name, columns=Columns(image="pic", prompt="ask", id="who"))
    assert (item.id, item.path, item.prompt) == ("me", "a.png", "What?")
    with pytest.raises(UsageError, match="which column"):
        Inputs([name])
    with pytest.raises(UsageError, match="no column 'pix'"):
        Inputs([name], columns=Columns(image="pix"))


def test_a_prompt_on_the_command_line_hides_a_guessed_column(folder: Path) -> None:
    touch("a.png")
    name = table("t.csv", "image,prompt\na.png,What?\n")
    (item,) = items(name, columns=Columns(guesses_prompt=False))
    assert (item.prompt, item.fields["prompt"]) == (None, "What?")


def test_semicolons_and_byte_order_marks_of_spreadsheets(folder: Path) -> None:
    touch("a.png")
    assert ids(table("t.csv", b"\xef\xbb\xbfid;image\r\n1;a.png\r\n2;a.png\r\n")) == ["1", "2"]


def test_paths_start_at_the_table_else_at_the_working_folder(folder: Path) -> None:
    touch("d/a.png", "b.png")
    table("d/t.csv", "image\na.png\nb.png\n")
    assert ids("d/t.csv") == ["d/a.png", "b.png"]


def test_bytes_base64_data_uris_and_urls(folder: Path) -> None:
    stream = io.BytesIO()
    scene(1).draw(60, 60).save(stream, "PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    uri = f"data:image/png;base64,{encoded}"
    rows = [{"image": encoded}, {"image": uri}, {"image": "https://u:p@example.org/a.png"}, {"image_base64": encoded}]
    found = items(table("t.jsonl", "\n".join(map(json.dumps, rows))))
    assert [item.sources[0] for item in found] == [stream.getvalue(), uri, rows[2]["image"], stream.getvalue()]
    assert found[2].path == "https://example.org/a.png", "passwords stay out of results"
    assert found[0].id == "t.jsonl:1"


def test_several_images_in_one_row(folder: Path) -> None:
    (item,) = items(table("t.jsonl", json.dumps({"images": ["a.png", "b.png"], "prompt": "Compare."})))
    assert [str(source) for source in item.sources] == ["a.png", "b.png"]


def test_bad_rows_are_errors_of_their_own(folder: Path) -> None:
    lines = ['{"image": "a.png"}', "nonsense", "[1]", '{"other": 1}', '{"image": ""}', '{"image": 5}', '"b.png"']
    found = items(table("t.jsonl", "\n".join(lines)))
    assert [item.error is None for item in found] == [True, False, False, False, False, False, True]
    short = items(table("t.csv", "image,n\na.png,1,too,many\nb.png\n"))
    assert [item.error is None for item in short] == [False, True]


@pytest.mark.parametrize("depth", [5, 900, 100_000])
def test_a_line_nested_without_end_is_an_error_of_its_own(folder: Path, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    lines = [f'{{"image": {deep}}}', f'{{"image": "a.png", "prompt": {deep}}}', deep, '{"image": "b.png"}']
    found = items(table("t.jsonl", "\n".join(lines)))
    assert [item.error is None for item in found] == [False, False, False, True]
    assert found[3].path == "b.png"


def test_a_pipe_that_a_list_names_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("p.png")
    uri = Path("p.png").absolute().as_uri()
    lines = ["p.png", json.dumps({"image": uri}), json.dumps({"images": [{"path": "p.png"}]}), "a.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    found = list(Inputs(["-"]))
    assert ["not a regular file" in str(item.error) for item in found] == [True, True, True, False]
    assert "p.png" in str(found[0].error)
    assert "not a regular file" in str(items("*.png")[0].error)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png", "loop/a.png", "~nobody-of-this-name/a.png"])
def test_names_that_cannot_be_are_errors_of_their_rows(folder: Path, name: str) -> None:
    Path("loop").symlink_to("loop")
    (item,) = items(table("t.jsonl", json.dumps({"image": name})))
    journal = Journal(Path("out.jsonl"))
    looker = Looker(template=parse("Hi"), system=None, identity=IDENTITY, journal=journal)
    looked = looker.look(item)
    assert isinstance(looked.error, InputError)
    journal.index.add(failed(item, looked.error, IDENTITY), JournalLine(0, 0))
    assert journal.index.renamed([]) == set()
    journal.close()


def test_parquet_with_paths_and_with_images_as_datasets_keep_them(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"bytes": b"abc", "path": "x.png"}, {"bytes": None, "path": "y.png"}]
    pq.write_table(pa.table({"image": rows, "id": [1, 2]}), "t.parquet")
    found = Inputs(["t.parquet"])
    assert found.count == 2
    assert [(item.id, item.sources[0]) for item in found] == [("1", b"abc"), ("2", Path("y.png"))]


def test_damage_within_a_parquet_file_costs_its_group_of_rows(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"image-{number:03}-{'x' * 60}.png" for number in range(90)]
    pq.write_table(pa.table({"image": names}), "t.parquet", row_group_size=30, compression="none", use_dictionary=False)
    data = bytearray(Path("t.parquet").read_bytes())
    start = data.index(b"image-030")
    data[start - 60 : start] = bytes(60)  # the header of the second group's page
    Path("t.parquet").write_bytes(data)
    found = items("t.parquet")
    assert [item.path for item in found if item.error is None] == names[:30] + names[60:]
    (error,) = [item.error for item in found if item.error is not None]
    assert str(error).startswith("t.parquet: damaged")


def test_any_damage_to_a_parquet_file_is_an_error_of_the_table_or_of_rows(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": ["a.png", "b.png"] * 20, "prompt": ["Hi"] * 40}), "t.parquet", row_group_size=10)
    whole, rng = Path("t.parquet").read_bytes(), random.Random(1)
    refusals: list[str] = []
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        Path("t.parquet").write_bytes(data)
        try:
            list(Inputs(["t.parquet"]))
        except GGUFVLMError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 150
    assert all("t.parquet" in text for text in refusals)


def test_a_table_that_is_none(folder: Path) -> None:
    with pytest.raises(InputError, match=r"t\.parquet"):
        Inputs([table("t.parquet", "no parquet")])


def test_lines_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b'a.png\n\n{"image": "b.png", "id": "B", "prompt": "Hi"}\r\ncaf\xe9.png\n{broken\n'
    stdin = io.TextIOWrapper(io.BytesIO(lines))
    monkeypatch.setattr(sys, "stdin", stdin)
    given = Inputs(["-"])
    assert given.count is None
    found = list(given)
    assert [item.id for item in found] == ["a.png", "B", "caf\\xe9.png", "stdin:4"]
    assert found[2].sources == (Path(os.fsdecode(b"caf\xe9.png")),)
    assert found[3].error is not None


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"a.png\0b.png\0"])
def test_an_image_in_place_of_lines_is_refused(data: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match="no list of images") as refused:
        list(Inputs(["-"]))
    assert "ggufvlm describe -" in (refused.value.hint or "")


def test_equal_ids_are_told_apart(folder: Path) -> None:
    touch("a.png")
    assert ids(table("t.csv", "id,image\nx,a.png\nx,a.png\ny,a.png\n")) == ["x", "x#2", "y"]
