"""PDFs and videos as inputs: rows for pages and frames, or one for the whole; resumed, deduplicated, isolated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import Question, UsageError
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.expand import DocumentReading, require_readers
from ggufvlm.batch.inputs.shared_document import Strip
from ggufvlm.batch.run.isolate import IsolatedEngine
from ggufvlm.errors import ImageError, MissingExtra
from ggufvlm.media.decoding.kinds import identify
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.documents import Attachments
from tests.batch.conftest import CONFIG, Runner, scene
from tests.media.test_pdf import LOCKED
from tests.support.clips import plain, write_clip, write_pdf

OUT = Path("out.jsonl")
EVERY = DocumentReading(selection=Selection(every=2.0))
WHOLE = DocumentReading(selection=Selection(every=2.0), whole=True)


@pytest.fixture
def documents(folder: Path) -> Path:
    """Scenes 0 to 3 as pages of a PDF and as seconds 0, 2, 4, 6 of a video; scene 4 as an image."""
    images = [scene(number).draw(196, 140) for number in range(5)]
    (folder / "d").mkdir()
    write_pdf(Path("d/four.pdf"), images[:4])
    write_clip(Path("d/clip.mp4"), [(2 * i, image) for i, image in enumerate(images[:4])], 8)
    images[4].save("d/photo.png")
    return Path("d")


def rows(path: Path = OUT) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def test_each_page_and_each_frame_has_its_row(runner: Runner, documents: Path) -> None:
    inputs = Inputs([str(documents)], reading=EVERY)
    progress = runner(inputs)
    found = rows()
    assert len(found) == 9
    for number in range(4):
        page, frame = found[f"d/four.pdf#page={number + 1}"], found[f"d/clip.mp4#t={2 * number}.0"]
        assert (page["path"], page["page"], page["time"]) == ("d/four.pdf", number + 1, None)
        assert (frame["path"], frame["page"], frame["time"]) == ("d/clip.mp4", None, 2.0 * number)
        assert page["answer"] == frame["answer"] == scene(number).caption
    assert (found["d/photo.png"]["page"], found["d/photo.png"]["answer"]) == (None, scene(4).caption)
    assert (inputs.count, progress.total, progress.done) == (9, 9, 9)


def test_pages_and_frames_are_chosen(folder: Path, documents: Path) -> None:
    reading = DocumentReading(selection=Selection(pages="4,1-2", frames=2))
    assert [item.id for item in Inputs([str(documents)], reading=reading)] == [
        "d/clip.mp4#t=2.0",
        "d/clip.mp4#t=6.0",
        "d/four.pdf#page=4",
        "d/four.pdf#page=1",
        "d/four.pdf#page=2",
        "d/photo.png",
    ]


def test_a_second_run_asks_and_decodes_nothing(
    runner: Runner, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner(Inputs([str(documents)], reading=EVERY))
    before = OUT.read_bytes()
    monkeypatch.setattr(Strip, "image", None)
    progress = runner(Inputs([str(documents)], reading=EVERY))
    assert (runner.asked, progress.kept, OUT.read_bytes()) == ([], 9, before)


def test_other_pages_are_added_and_the_known_ones_stay(runner: Runner, documents: Path) -> None:
    runner(Inputs(["d/four.pdf"], reading=DocumentReading(selection=Selection(pages="2"))))
    runner(Inputs(["d/four.pdf"]))
    assert (len(runner.asked), len(rows())) == (3, 4)


def test_a_renamed_document_moves_its_rows(runner: Runner, documents: Path) -> None:
    runner(Inputs([str(documents)], reading=EVERY))
    Path("d/four.pdf").rename("d/new.pdf")
    progress = runner(Inputs([str(documents)], reading=EVERY))
    assert (runner.asked, progress.copied) == ([], 4)
    assert {name for name in rows() if "pdf" in name} == {f"d/new.pdf#page={n}" for n in (1, 2, 3, 4)}
    assert [rows()[f"d/new.pdf#page={n}"]["page"] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_equal_pages_are_asked_once(runner: Runner, folder: Path) -> None:
    pages = [scene(number % 2).draw(196, 140) for number in range(6)]
    write_pdf(Path("a.pdf"), pages)
    progress = runner(Inputs(["a.pdf"]))
    assert (len(runner.asked), progress.copied) == (2, 4)
    assert [rows()[f"a.pdf#page={n + 1}"]["answer"] for n in range(6)] == [scene(n % 2).caption for n in range(6)]


def test_a_still_video_has_all_its_rows_and_one_question(runner: Runner, folder: Path) -> None:
    write_clip(Path("still.mp4"), [(0, scene(3).draw(196, 140))], 0.1, rate=10)
    progress = runner(Inputs(["still.mp4"], reading=DocumentReading(selection=Selection(frames=5))))
    assert (progress.answered, progress.copied, len(rows())) == (1, 4, 5)


def test_a_damaged_document_is_one_row_with_an_error(runner: Runner, documents: Path) -> None:
    Path("d/cut.pdf").write_bytes(Path("d/four.pdf").read_bytes()[:2000])
    Path("d/cut.mp4").write_bytes(Path("d/clip.mp4").read_bytes()[:500])
    progress = runner(Inputs([str(documents)], reading=EVERY))
    failed = {name: row["error"] for name, row in rows().items() if row["error"]}
    assert set(failed) == {"d/cut.pdf", "d/cut.mp4"}
    assert all(error["class"] == "ImageError" for error in failed.values())
    assert (progress.answered + progress.copied, progress.errors) == (9, 2)


def test_a_locked_pdf_is_one_row_that_says_so(runner: Runner, folder: Path) -> None:
    Path("locked.pdf").write_bytes(LOCKED)
    runner(Inputs(["locked.pdf"]))
    assert "password" in rows()["locked.pdf"]["error"]["text"]


def test_one_damaged_page_fails_alone(runner: Runner, folder: Path) -> None:
    write_pdf(Path("a.pdf"), [scene(number).draw(196, 140) for number in range(4)])
    boxes = re.split(rb"(/MediaBox \[[^]]*\])", Path("a.pdf").read_bytes())
    boxes[3] = b"/MediaBox [0 0 0 0]".ljust(len(boxes[3]))  # of the second page: nothing is left of it
    Path("a.pdf").write_bytes(b"".join(boxes))
    runner(Inputs(["a.pdf"]))
    assert [rows()[f"a.pdf#page={n}"]["answer"] for n in (1, 3, 4)] == [scene(n).caption for n in (0, 2, 3)]
    assert rows()["a.pdf#page=2"]["answer"] != scene(1).caption


@pytest.fixture
def scans(folder: Path) -> Path:
    """Scenes 0 to 3 as pages of a TIFF; scene 4 as a TIFF of one image."""
    images = [scene(number).draw(196, 140) for number in range(5)]
    (folder / "s").mkdir()
    images[0].save("s/four.tif", save_all=True, append_images=images[1:4], compression="tiff_lzw")
    images[4].save("s/one.tif")
    return Path("s")


def test_each_page_of_a_scan_has_its_row(runner: Runner, scans: Path) -> None:
    inputs = Inputs([str(scans)])
    assert inputs.count == 5
    progress = runner(inputs)
    found = rows()
    assert (len(found), inputs.count, progress.total, progress.done) == (5, 5, 5, 5)
    for number in range(4):
        page = found[f"s/four.tif#page={number + 1}"]
        assert (page["path"], page["page"], page["answer"]) == ("s/four.tif", number + 1, scene(number).caption)
    assert (found["s/one.tif"]["page"], found["s/one.tif"]["answer"]) == (None, scene(4).caption)
    assert (runner(Inputs([str(scans)])).answered, len(rows())) == (0, 5)


def test_pages_of_a_scan_are_chosen_or_asked_about_as_one(runner: Runner, scans: Path) -> None:
    chosen = DocumentReading(selection=Selection(pages="4,2"))
    assert [item.id for item in Inputs([str(scans)], reading=chosen)] == [
        *("s/four.tif#page=4", "s/four.tif#page=2"),
        "s/one.tif",
    ]
    runner(Inputs(["s/four.tif"], reading=DocumentReading(whole=True)))
    assert rows()["s/four.tif"]["parts"] == "pages 1-4"
    with pytest.raises(UsageError, match="no TIFF of several pages"):
        Inputs(["s/one.tif"], reading=chosen)


@pytest.mark.parametrize("names", [("four", ["x#page=1", "x#page=2", "x#page=3", "x#page=4"]), ("one", ["x"])])
def test_a_scan_as_bytes_or_data_uri(runner: Runner, scans: Path, names: tuple[str, list[str]]) -> None:
    import base64

    import pyarrow as pa
    import pyarrow.parquet as pq

    data = Path(f"s/{names[0]}.tif").read_bytes()
    pq.write_table(pa.table({"image": [data], "id": ["x"]}), "t.parquet")
    assert [item.id for item in Inputs(["t.parquet"])] == names[1]
    uri = f"data:image/tiff;base64,{base64.b64encode(data).decode()}"
    Path("t.jsonl").write_text(json.dumps({"image": uri, "id": "x"}))
    runner(Inputs(["t.jsonl"]))
    assert sorted(rows()) == names[1]
    assert rows()[names[1][-1]]["answer"] == scene(3 if names[0] == "four" else 4).caption


def test_a_scan_that_is_cut_off_is_a_row_with_the_reason(runner: Runner, scans: Path) -> None:
    Path("s/cut.tif").write_bytes(Path("s/four.tif").read_bytes()[:-300])
    runner(Inputs([str(scans)]))
    assert "cut off" in rows()["s/cut.tif"]["error"]["text"]
    assert len(rows()) == 6


def test_the_whole_is_one_row_that_names_what_was_seen(runner: Runner, documents: Path) -> None:
    progress = runner(Inputs([str(documents)], reading=WHOLE))
    found = rows()
    assert set(found) == {"d/four.pdf", "d/clip.mp4", "d/photo.png"}
    assert found["d/four.pdf"]["parts"] == "pages 1-4"
    assert found["d/clip.mp4"]["parts"] == "0:00.0, 0:02.0, 0:04.0, 0:06.0"
    assert found["d/photo.png"]["parts"] is None
    assert len(found["d/four.pdf"]["image"].split()) == 4
    assert found["d/four.pdf"]["n_prompt"] > 4 * 35
    assert progress.answered == 3
    before = OUT.read_bytes()
    Path("d/four.pdf").rename("d/new.pdf")
    again = runner(Inputs([str(documents)], reading=WHOLE))
    assert (again.answered, again.kept, again.copied) == (0, 2, 1)
    Path("d/new.pdf").rename("d/four.pdf")
    runner(Inputs([str(documents)], reading=WHOLE))
    assert {row["answer"] for row in rows().values()} == {json.loads(line)["answer"] for line in before.splitlines()}


def test_other_frames_of_the_whole_are_another_question(runner: Runner, documents: Path) -> None:
    runner(Inputs(["d/clip.mp4"], reading=WHOLE))
    runner(Inputs(["d/clip.mp4"], reading=DocumentReading(selection=Selection(frames=2), whole=True)))
    assert rows()["d/clip.mp4"]["parts"] == "0:02.0, 0:06.0"


def test_a_row_of_a_table_keeps_its_sources_together(runner: Runner, documents: Path) -> None:
    Path("t.jsonl").write_text(json.dumps({"id": "x", "images": ["d/photo.png", "d/four.pdf"]}))
    runner(Inputs(["t.jsonl"], reading=DocumentReading(selection=Selection(pages="1-2"))))
    assert rows()["x"]["parts"] == "d/photo.png, d/four.pdf page 1, d/four.pdf page 2"


def test_the_whole_in_a_process_of_its_own(documents: Path) -> None:
    attachments = Attachments.read(["d/four.pdf"])
    question = Question(images=attachments, prompt="Describe each image.", settings={"max_tokens": 20}, tag=0)
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        (result,) = engine.map([question])
    assert result.answer is not None
    assert [image.source for image in result.answer.images] == [f"d/four.pdf page {n}" for n in (1, 2, 3, 4)]


def test_bytes_of_a_pdf_in_a_table(runner: Runner, documents: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [Path("d/four.pdf").read_bytes()], "id": ["x"]}), "t.parquet")
    runner(Inputs(["t.parquet"], reading=DocumentReading(selection=Selection(pages="2-3"))))
    assert {name: row["answer"] for name, row in rows().items()} == {
        "x#page=2": scene(1).caption,
        "x#page=3": scene(2).caption,
    }


def test_fields_of_prompts(runner: Runner, documents: Path) -> None:
    reading = DocumentReading(selection=Selection(pages="2", every=6.0))
    runner(Inputs(["d"], reading=reading), prompt="{stem} {page}?")
    assert rows()["d/four.pdf#page=2"]["prompt"] == "four 2?"
    assert "{page}" in rows()["d/clip.mp4#t=6.0"]["error"]["text"]


@pytest.mark.parametrize(
    ("selection", "whole", "names"),
    [
        (Selection(pages="1"), False, ["d/clip.mp4", "d/photo.png"]),
        (Selection(frames=2), False, ["d/four.pdf"]),
        (Selection(), True, ["d/photo.png"]),
    ],
)
def test_choices_for_nothing_are_refused(documents: Path, selection: Selection, whole: bool, names: list[str]) -> None:
    with pytest.raises(UsageError):
        Inputs(names, reading=DocumentReading(selection=selection, whole=whole))


def test_a_selection_that_is_none_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="not a selection"):
        DocumentReading(selection=Selection(pages="first"))


def test_a_missing_package_is_named_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ggufvlm.batch.inputs.expand._PACKAGES", {"pdf": "no_such_package", "video": "av"})
    require_readers(iter(["a.png", "b.mp4"]))
    with pytest.raises(MissingExtra, match=r"b\.PDF") as caught:
        require_readers(iter(["a.png", "b.PDF"]))
    assert "ggufvlm[pdf]" in str(caught.value.hint)
    assert "--exclude '*.PDF'" in str(caught.value.hint)


# -- the open file that rows share


def strip_of(path: str, selection: Selection) -> Strip:
    document = open_document(identify(path), selection)
    return Strip(document, len(document.places))


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (1, 0, 3, 2, 5, 4), (5, 4, 3, 2, 1, 0), (0, 5, 2), (3, 3, 3)])
@pytest.mark.parametrize("name", ["six.pdf", "six.mp4"])
def test_images_in_any_order_are_those_of_their_places(folder: Path, name: str, order: tuple[int, ...]) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
    images = [plain(color, (64, 64)) for color in colors]
    write_pdf(Path("six.pdf"), images)
    write_clip(Path("six.mp4"), [(2 * i, image) for i, image in enumerate(images)], 12)
    strip = strip_of(name, Selection(every=2.0))
    for number in order:
        image = strip.image(strip.document.places[number])
        seen = image.rgb[: 3 * 64 * 64 // 2][-3:]
        assert all(abs(a - b) < 40 for a, b in zip(seen, colors[number], strict=True)), number


def test_the_file_is_closed_when_all_have_left(folder: Path) -> None:
    write_pdf(Path("six.pdf"), [plain((9, 9, 9), (64, 64))] * 3)
    strip = strip_of("six.pdf", Selection())
    for place in strip.document.places:
        strip.image(place)
        assert strip._images is not None
        strip.leave()
    assert strip._images is None
    assert not strip._kept


def test_a_video_that_is_cut_off_has_rows_up_to_there(runner: Runner, folder: Path) -> None:
    images = [scene(number).draw(196, 140) for number in range(4)]
    write_clip(Path("clip.mkv"), [(2 * i, image) for i, image in enumerate(images)], 8, key_every=5)
    whole = Path("clip.mkv").read_bytes()
    Path("clip.mkv").write_bytes(whole[: len(whole) // 2])
    progress = runner(Inputs(["clip.mkv"], reading=EVERY))
    assert progress.answered >= 1
    assert progress.errors >= 1
    assert rows()["clip.mkv#t=0.0"]["answer"] == scene(0).caption


def test_a_file_that_went_away(folder: Path, documents: Path) -> None:
    strip = strip_of("d/four.pdf", Selection())
    Path("d/four.pdf").unlink()
    with pytest.raises(ImageError, match=r"four\.pdf"):
        strip.image_id(1)
