"""Pages read by the built-in model: it knows coloured blocks, and what it says of each page is known."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
import pytest

import ggufvlm
from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.families.registry import find_family
from ggufvlm.gguf.header import read_header
from ggufvlm.media import load
from ggufvlm.models.resolve import find_model
from ggufvlm.tasks.ocr.ocr import needs_model, read_pages
from ggufvlm.tasks.ocr.page import PAGE_TOKENS, Page, PageSettings, page_budget
from ggufvlm.tasks.ocr.places import find_places, find_sources, images
from ggufvlm.tasks.ocr.turns import turned
from tests.media.test_pdf import LOCKED, objects, text_report
from tests.support.clips import plain, write_clip, write_pdf
from tests.support.scenes import random_scene

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(8)]
CAPTIONS = [scene.caption for scene in SCENES]
DESCRIBE = PageSettings(prompt="Describe this image.")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return Path()


@pytest.fixture(scope="module")
def slots() -> Iterator[VLM]:
    """The built-in model with places for three pages at a time."""
    with VLM.load("demo", config=EngineConfig(n_slots=3, priority="throughput")) as vlm:
        yield vlm


def read(vlm: VLM | None, *sources: str, reading: PageSettings = DESCRIBE, pages: str | None = None) -> list[Page]:
    return list(read_pages(vlm, find_places(find_sources(sources), pages), reading))


def test_pages_come_in_order_and_right(slots: VLM) -> None:
    write_pdf(Path("scenes.pdf"), [scene.draw(196, 140) for scene in SCENES])
    pages = read(slots, "scenes.pdf")
    assert [page.text for page in pages] == CAPTIONS
    assert [page.place.name for page in pages] == [f"scenes.pdf page {n}" for n in range(1, 9)]
    assert {(page.origin, page.finish_reason, page.rotation, page.n_retries) for page in pages} == {
        ("model", "stop", 0, 0)
    }
    assert [page.text for page in read(slots, "scenes.pdf", pages="7,2-3")] == [CAPTIONS[i] for i in (6, 1, 2)]


def test_images_pdfs_and_folders_mixed(slots: VLM) -> None:
    Path("scans").mkdir()
    for name, scene in zip(("2.png", "10.png", "1.jpg"), SCENES, strict=False):
        scene.draw(196, 140).save(Path("scans") / name, quality=95)
    write_pdf(Path("scans/3.pdf"), [scene.draw(196, 140) for scene in SCENES[3:5]])
    Path("scans/notes.txt").write_text("no page")
    Path("scans/.hidden.png").write_text("no page")
    pages = read(slots, "scans", "scans/10.png")
    assert [page.place.name for page in pages] == [
        *("scans/1.jpg", "scans/2.png", "scans/3.pdf page 1", "scans/3.pdf page 2", "scans/10.png"),
        "scans/10.png",
    ]
    assert [page.text for page in pages] == [CAPTIONS[i] for i in (2, 0, 3, 4, 1, 1)]


def test_scans_of_several_pages(slots: VLM) -> None:
    first, *rest = [scene.draw(196, 140) for scene in SCENES[:4]]
    first.save("scan.tiff", save_all=True, append_images=rest, compression="tiff_lzw")
    SCENES[5].draw(196, 140).save("single.tif")
    pages = read(slots, "scan.tiff", "single.tif")
    assert [page.text for page in pages] == [*CAPTIONS[:4], CAPTIONS[5]]
    assert [page.place.name for page in pages] == [*(f"scan.tiff page {n}" for n in (1, 2, 3, 4)), "single.tif"]
    assert [page.text for page in read(slots, "scan.tiff", pages="4,2")] == [CAPTIONS[3], CAPTIONS[1]]
    Path("cut.tiff").write_bytes(Path("scan.tiff").read_bytes()[:-300])
    with pytest.raises(ImageError, match=r"cut\.tiff: "):
        find_places(["cut.tiff"])
    with pytest.raises(UsageError, match="there are 4"):
        find_places(["scan.tiff"], "5")


def test_thumbnails_in_a_tiff_are_no_pages(slots: VLM) -> None:
    """As cameras and scanners add them: marked as a reduced image of the page before."""
    with PIL.TiffImagePlugin.AppendingTiffWriter("both.tif", new=True) as writer:
        SCENES[0].draw(196, 140).save(writer, "TIFF")
        writer.newFrame()
        SCENES[1].draw(49, 35).save(writer, "TIFF", tiffinfo={254: 1})
    with PIL.Image.open("both.tif") as both:
        assert both.n_frames == 2
        both.seek(1)
        assert both.tag_v2.get(254) == 1
    pages = read(slots, "both.tif")
    assert [(page.place.name, page.text) for page in pages] == [("both.tif", CAPTIONS[0])]


def test_a_page_that_cannot_be_read_stops_no_other(slots: VLM) -> None:
    for i in range(3):
        SCENES[i].draw(196, 140).save(f"{i}.png")
    Path("1.png").write_bytes(Path("1.png").read_bytes()[:100])
    pages = read(slots, "0.png", "1.png", "2.png")
    assert [page.text for page in pages] == [CAPTIONS[0], "", CAPTIONS[2]]
    assert isinstance(pages[1].error, ImageError)
    assert "1.png" in str(pages[1].error)
    assert [page.error for page in (pages[0], pages[2])] == [None, None]


def test_a_page_of_a_pdf_that_is_none(slots: VLM) -> None:
    catalog, kids = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    Path("hollow.pdf").write_bytes(objects(catalog, kids, b"<</Type/Nothing>>"))
    (page,) = read(slots, "hollow.pdf")
    assert str(page.error) == "hollow.pdf page 1: the page is damaged"


def test_blank_pages_are_not_shown_to_the_model(slots: VLM) -> None:
    write_pdf(Path("a.pdf"), [SCENES[0].draw(196, 140), plain((255, 255, 255)), SCENES[1].draw(196, 140)])
    pages = read(slots, "a.pdf")
    assert [page.text for page in pages] == [CAPTIONS[0], "", CAPTIONS[1]]
    assert [page.origin for page in pages] == ["model", "blank", "model"]


def test_the_text_that_a_pdf_carries(slots: VLM) -> None:
    Path("report.pdf").write_bytes(text_report(30))
    SCENES[0].draw(196, 140).save("photo.png")
    taking = PageSettings(prompt="Describe this image.", takes_layer=True)
    places = find_places(["report.pdf"], "8-")
    assert not needs_model(places, taking)
    assert needs_model(places, DESCRIBE)
    pages = list(read_pages(None, places, taking))
    assert [page.text for page in pages] == [f"Page {n}" for n in range(8, 31)]
    assert {page.origin for page in pages} == {"text layer"}
    both = read(slots, "report.pdf", "photo.png", "report.pdf", reading=taking, pages="2")
    assert [page.text for page in both] == ["Page 2", CAPTIONS[0], "Page 2"]
    with pytest.raises(UsageError):
        list(read_pages(None, places, DESCRIBE))


def test_pages_that_lie_on_their_side(slots: VLM) -> None:
    """Turned by hand all come out right; found out, those whose blocks stand above each other in a way it never saw."""
    several = [
        scene for scene in (random_scene(random.Random(n), 196, 140) for n in range(16)) if len(scene.blocks) == 3
    ]
    for i, scene in enumerate(several):
        scene.draw(196, 140).transpose(PIL.Image.Transpose.ROTATE_90).save(f"{i}.png")
    names = [f"{i}.png" for i in range(len(several))]
    by_hand = read(slots, *names, reading=PageSettings(prompt="Describe this image.", rotate=90))
    assert [page.text for page in by_hand] == [scene.caption for scene in several]
    found = read(slots, *names, reading=PageSettings(prompt="Describe this image.", rotate=None, sure=0.995))
    # the model has no notion of up and down, but knows that blocks stand side by side
    assert all(page.rotation in (90, 270) for page in found)
    for page, scene in zip(found, several, strict=True):
        assert page.confidence is not None
        assert page.confidence > 0.98
        assert page.text == scene.caption or page.rotation == 270
    assert any(page.rotation == 90 for page in found)


def test_upright_pages_are_left_alone(slots: VLM) -> None:
    write_pdf(Path("scenes.pdf"), [scene.draw(196, 140) for scene in SCENES])
    pages = read(slots, "scenes.pdf", reading=PageSettings(prompt="Describe this image.", rotate=None))
    assert [(page.text, page.rotation) for page in pages] == [(caption, 0) for caption in CAPTIONS]


def test_turning_moves_pixels_clockwise() -> None:
    image = load(np.array([[[1, 1, 1], [2, 2, 2], [3, 3, 3]], [[4, 4, 4], [5, 5, 5], [6, 6, 6]]], np.uint8))
    assert turned(image, 0) is image
    assert (turned(image, 90).width, turned(image, 90).rgb[::3]) == (2, bytes([4, 1, 5, 2, 6, 3]))
    assert turned(image, 180).rgb[::3] == bytes([6, 5, 4, 3, 2, 1])
    assert turned(turned(image, 270), 90).id == image.id


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLM]:
    """A model that finds all tokens equally likely: at temperature 0 it says the first one for ever."""
    demo = find_model("demo")
    header, weights = read_header(demo.model), bytearray(demo.model.read_bytes())
    norm = header.tensors["output_norm.weight"]
    start = header.data_offset + norm.offset
    weights[start : start + (norm.n_bytes or 0)] = bytes(norm.n_bytes or 0)
    path = tmp_path_factory.mktemp("stuck") / "stuck.gguf"
    path.write_bytes(weights)
    with VLM.load(path, demo.mmproj) as vlm:
        yield vlm


def test_a_loop_is_given_up_and_marked(stuck: VLM) -> None:
    SCENES[0].draw(196, 140).save("0.png")
    (page,) = read(stuck, "0.png", reading=PageSettings(n_retries=0))
    assert page.is_given_up
    assert page.n_tokens > 90
    assert len(page.text) < 20, "the loop is said once"


def test_a_loop_is_asked_for_again_with_a_higher_temperature(stuck: VLM) -> None:
    """Whose tokens are all equally likely ends the loop as soon as they are drawn."""
    SCENES[0].draw(196, 140).save("0.png")
    reading = PageSettings(n_retries=3, settings={"max_tokens": 200})
    first, again = (read(stuck, "0.png", reading=reading)[0] for _ in range(2))
    assert (first.n_retries, first.is_given_up) == (1, False)
    assert len(first.text) > 100
    assert first.text == again.text, "the same command gives the same text"


def test_what_the_model_is_asked_is_its_family_s_own_prompt(demo: VLM) -> None:
    """The built-in model knows no such question; that it answers at all shows that it was asked."""
    SCENES[0].draw(196, 140).save("0.png")
    (page,) = read(demo, "0.png", reading=PageSettings(settings={"max_tokens": 5}))
    prompt = find_family(demo.files).pages.prompt("text")
    assert page.text == demo.describe("0.png", prompt, max_tokens=5).text.strip("\n")
    assert page.finish_reason in ("stop", "length")


def test_a_model_that_wants_no_words_gets_none(demo: VLM) -> None:
    SCENES[0].draw(196, 140).save("0.png")
    (page,) = read(demo, "0.png", reading=PageSettings(prompt="", settings={"max_tokens": 5}))
    assert page.error is None
    assert page.n_tokens > 0


def test_budget_of_a_page() -> None:
    demo = find_model("demo")
    assert page_budget(demo) == 42, "the model was trained with no more"
    stranger = ggufvlm.models.resolve.ModelFiles(name="mine", model=demo.model, mmproj=demo.mmproj)
    assert page_budget(stranger) == PAGE_TOKENS


def test_one_file_is_open_at_a_time_and_errors_come_in_place() -> None:
    write_pdf(Path("a.pdf"), [plain((255, 0, 0)), plain((0, 255, 0))])
    write_pdf(Path("b.pdf"), [plain((0, 0, 255))])
    places = find_places(["a.pdf", "b.pdf", "a.pdf"])
    found = [
        (place.name, image.rgb[:3] if not isinstance(image, ImageError) else None)
        for place, image in images(places, 72)
    ]
    assert [name for name, _ in found] == [
        *("a.pdf page 1", "a.pdf page 2", "b.pdf page 1", "a.pdf page 1", "a.pdf page 2")
    ]
    Path("b.pdf").write_bytes(b"%PDF-1.4 gone")
    kinds = [isinstance(image, ImageError) for _, image in images(places, 72)]
    assert kinds == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("sources", "error", "words"),
    [
        (["none.pdf"], ImageError, "none.pdf"),
        (["no such thing"], ImageError, "no such file"),
        (["empty"], ImageError, "no images and no PDFs"),
        (["locked.pdf"], ImageError, "password"),
        (["cut.pdf"], ImageError, "damaged"),
        (["clip.mp4"], ImageError, "a video"),
        (["-", "-"], UsageError, "once"),
    ],
)
def test_what_cannot_be_read_is_named_before_a_model_is_loaded(sources, error, words) -> None:
    Path("empty").mkdir()
    Path("locked.pdf").write_bytes(LOCKED)
    write_pdf(Path("cut.pdf"), [plain((255, 0, 0))])
    Path("cut.pdf").write_bytes(Path("cut.pdf").read_bytes()[:300])
    write_clip(Path("clip.mp4"), [(0, plain((255, 0, 0)))], 1)
    with pytest.raises(error, match=words):
        find_places(find_sources(sources))


def test_settings_that_make_no_sense() -> None:
    for wrong in ({"rotate": 45}, {"n_retries": -1}):
        with pytest.raises(UsageError):
            PageSettings(**wrong)  # type: ignore[arg-type]
    SCENES[0].draw(196, 140).save("0.png")
    with pytest.raises(UsageError, match="no PDF"):
        find_places(["0.png"], "1-2")
