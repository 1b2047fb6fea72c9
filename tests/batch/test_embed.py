"""Answers into image files: copies, in place, and what is never written over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.item import Item
from ggufvlm.batch.outputs.embed import Embedder, EmbedStyle
from ggufvlm.batch.outputs.keywords import keywords_in
from ggufvlm.errors import OutputError
from ggufvlm.media import load
from ggufvlm.media.metadata.write import Field, description_of, keywords_of
from tests.batch.conftest import scene
from tests.support.clips import write_pdf

COPIES = EmbedStyle(fields=(Field.XMP, Field.EXIF), folder=Path("out"))
IN_PLACE = EmbedStyle(fields=(Field.XMP,))


def draw(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        scene(number).draw(60, 45).save(name)


def embed(style: EmbedStyle, *arguments: str, answer: str = "a caption", known: bool = False) -> Embedder:
    row: dict[str, Any] = {"answer": answer, "error": None}
    embedder = Embedder(style, lambda _id: row)
    embedder.problems = []  # type: ignore[attr-defined]
    embedder.on_problem = embedder.problems.append  # type: ignore[attr-defined]
    for item in Inputs(arguments):
        embedder(item, None if known else row)
    return embedder


def caption(path: str, field: Field = Field.XMP) -> str | None:
    return description_of(Path(path).read_bytes(), field, path)


def test_copies_lie_as_their_originals_do(folder: Path) -> None:
    draw("d/a.jpg", "d/b/a.jpg", "e/c.png", "f.webp")
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    done = embed(COPIES, "d", "e/c.png", str(folder / "f.webp"))
    assert (done.n_written, done.n_failed) == (4, 0)
    for name in ("out/a.jpg", "out/b/a.jpg", "out/e/c.png", "out/f.webp"):
        assert caption(name) == caption(name, Field.EXIF) == "a caption"
    assert load("out/b/a.jpg").id == load("d/b/a.jpg").id
    assert all(path.read_bytes() == data for path, data in before.items())


def test_in_place_keeps_the_original_once(folder: Path) -> None:
    draw("a.jpg")
    Path("a.jpg").chmod(0o640)
    original = Path("a.jpg").read_bytes()
    embed(IN_PLACE, "a.jpg")
    embed(IN_PLACE, "a.jpg", answer="a better one")
    assert caption("a.jpg") == "a better one"
    assert Path("a.jpg.orig").read_bytes() == original
    assert Path("a.jpg").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "a.jpg.orig"]


def test_another_image_of_the_same_name_gets_a_backup_of_its_own(folder: Path) -> None:
    draw("a.jpg")
    embed(IN_PLACE, "a.jpg")
    scene(5).draw(60, 45).save("a.jpg")
    second = Path("a.jpg").read_bytes()
    embed(IN_PLACE, "a.jpg")
    assert Path("a.jpg.orig2").read_bytes() == second


def test_a_link_is_followed_and_stays_a_link(folder: Path) -> None:
    draw("d/a.jpg")
    Path("link.jpg").symlink_to("d/a.jpg")
    embed(IN_PLACE, "link.jpg")
    assert Path("link.jpg").is_symlink()
    assert caption("d/a.jpg") == "a caption"


def test_what_is_described_already_is_not_written_again(folder: Path) -> None:
    draw("a.jpg")
    embed(IN_PLACE, "a.jpg")
    embed(COPIES, "a.jpg")
    states = [(path, path.stat().st_mtime_ns) for path in (Path("a.jpg"), Path("out/a.jpg"))]
    assert embed(IN_PLACE, "a.jpg", known=True).n_written == 1
    assert embed(COPIES, "a.jpg", known=True).n_written == 1
    assert [(path, path.stat().st_mtime_ns) for path, _ in states] == states


def test_a_run_that_was_cut_off_is_caught_up(folder: Path) -> None:
    draw("a.jpg")
    assert embed(IN_PLACE, "a.jpg", known=True).n_written == 1
    assert caption("a.jpg") == "a caption"


def test_nothing_of_others_is_written_over(folder: Path) -> None:
    draw("d/a.jpg", "e/a.jpg", "out/a.jpg")
    theirs = Path("out/a.jpg").read_bytes()
    done = embed(COPIES, "d")
    assert (done.n_failed, Path("out/a.jpg").read_bytes()) == (1, theirs)
    Path("out/a.jpg").unlink()
    done = embed(COPIES, "d", "e")
    assert (done.n_written, done.n_failed) == (1, 1)
    assert "e/a.jpg" in done.problems[0]  # type: ignore[attr-defined]
    assert "d/a.jpg" in done.problems[0]  # type: ignore[attr-defined]
    done = embed(EmbedStyle(fields=(Field.XMP,), folder=Path()), "d/a.jpg", "d")
    assert done.n_failed == 1, "the copy would be the original"


def test_what_cannot_hold_a_description_is_told(folder: Path) -> None:
    draw("a.gif", "b.jpg")
    done = embed(COPIES, "a.gif", "b.jpg")
    assert (done.n_written, done.n_failed) == (1, 1)
    assert "a.gif" in done.problems[0]  # type: ignore[attr-defined]
    assert not Path("out/a.gif").exists()


def test_pages_and_urls_have_no_file_of_their_own(folder: Path) -> None:
    write_pdf(Path("two.pdf"), [scene(n).draw(60, 45) for n in (1, 2)])
    before = Path("two.pdf").read_bytes()
    assert embed(IN_PLACE, "two.pdf").n_without_file == 2
    assert embed(IN_PLACE, "https://example.org/a.png").n_without_file == 1
    assert Path("two.pdf").read_bytes() == before


def test_errors_are_not_written_into_images(folder: Path) -> None:
    draw("a.jpg")
    embedder = Embedder(IN_PLACE, lambda _id: None)
    item = Item(id="a.jpg", path="a.jpg", sources=(Path("a.jpg"),))
    embedder(item, {"answer": "round and round", "error": {"class": "Repetition", "text": "x"}})
    embedder(item, None)
    assert (embedder.n_written, caption("a.jpg")) == (0, None)


def test_a_folder_that_cannot_be_made_ends_the_run(folder: Path) -> None:
    draw("a.jpg")
    Path("out").touch()
    with pytest.raises(OutputError, match="out"):
        embed(COPIES, "a.jpg")


def test_an_image_that_cannot_be_written_is_counted_and_the_next_one_is_described(folder: Path) -> None:
    long = "n" * 248 + ".jpg"  # there is no room for .orig behind it
    draw("a.jpg", long, "z.jpg")
    original = Path(long).read_bytes()
    done = embed(IN_PLACE, "a.jpg", long, "z.jpg")
    assert (done.n_written, done.n_failed) == (2, 1)
    assert (caption("z.jpg"), Path(long).read_bytes()) == ("a caption", original)
    Path("out/d").mkdir(parents=True)
    Path("out/d/a.jpg").mkdir()
    draw("d/a.jpg", "d/b.jpg")
    done = embed(COPIES, "d/a.jpg", "d/b.jpg")
    assert (done.n_written, done.n_failed) == (1, 1)


def test_a_file_system_without_permissions_takes_descriptions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    draw("a.jpg")
    monkeypatch.setattr("os.fchmod", refuse)
    monkeypatch.setattr("shutil.copystat", refuse)
    assert embed(IN_PLACE, "a.jpg").n_written == 1
    assert caption("a.jpg") == "a caption"


def test_nothing_is_written_through_links_that_lie_in_wait(folder: Path) -> None:
    draw("d/a.jpg", "secret/s.jpg", "far/b.jpg")
    secrets = {path: path.read_bytes() for path in (Path("secret/s.jpg"), Path("far/b.jpg"))}
    for name in (".a.jpg.orig.partial", "a.jpg.orig"):
        Path("d", name).symlink_to("../secret/s.jpg")
    Path("d/s.jpg").symlink_to("../secret/s.jpg")
    Path("d/far").symlink_to("../far")
    os.mkfifo("d/a.jpg.orig2")
    done = embed(IN_PLACE, "d")
    assert (done.n_written, done.n_failed, caption("d/a.jpg")) == (1, 2, "a caption")
    assert all("leads out" in text for text in done.problems)  # type: ignore[attr-defined]
    assert {path: path.read_bytes() for path in secrets} == secrets
    assert sorted(path.name for path in Path("secret").iterdir()) == ["s.jpg"]
    assert Path("d/a.jpg.orig3").is_file()
    Path("out").mkdir()
    Path("out/far").symlink_to("../secret")
    done = embed(COPIES, "d")
    assert "out/far/b.jpg: a link leads out" in " ".join(done.problems)  # type: ignore[attr-defined]
    assert sorted(path.name for path in Path("secret").iterdir()) == ["s.jpg"]


def test_lists_become_keywords_and_formats_get_the_fields_they_have(folder: Path) -> None:
    draw("a.jpg", "b.png", "c.webp", "d.tiff")
    style = EmbedStyle(fields=(Field.XMP, Field.IPTC), folder=Path("out"), keywords=True)
    answer = "- Cat\n- red sofa\n- cat"
    done = embed(style, "a.jpg", "b.png", "c.webp", "d.tiff", answer=answer)
    assert (done.n_written, done.n_failed, dict(done.n_without_field)) == (4, 0, {Field.IPTC: 2})
    for name in ("a.jpg", "b.png", "c.webp", "d.tiff"):
        assert keywords_of(Path("out", name).read_bytes(), Field.XMP, name) == ("Cat", "red sofa")
    for name in ("a.jpg", "d.tiff"):
        assert keywords_of(Path("out", name).read_bytes(), Field.IPTC, name) == ("Cat", "red sofa")
    states = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    embed(style, "a.jpg", "b.png", "c.webp", "d.tiff", answer=answer, known=True)
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir()} == states
    assert embed(style, "a.jpg", answer=" , ").n_failed == 1


def test_a_format_with_none_of_the_fields_is_told(folder: Path) -> None:
    draw("a.png")
    done = embed(EmbedStyle(fields=(Field.IPTC,), folder=Path("out")), "a.png")
    assert (done.n_written, done.n_failed) == (0, 1)
    assert "no place for IPTC" in done.problems[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("cat, Red sofa,cat\n- window.", ("cat", "Red sofa", "window")),
        ("1. dog\n2) **big tree**;  #sky", ("dog", "big tree", "sky")),
        ('["a", "b, c"]', ("a", "b, c")),
        (f"{'x' * 65}, ok", ("ok",)),
        ("3d printer, 50s", ("3d printer", "50s")),
    ],
)
def test_the_tags_of_an_answer(answer: str, words: tuple[str, ...]) -> None:
    assert keywords_in(answer) == words
