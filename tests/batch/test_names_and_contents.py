"""Names that promise one thing, contents that are another: a row, right or with its reason, and no end of the run."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.expand import DocumentReading
from ggufvlm.batch.inputs.walk import Filter
from ggufvlm.errors import GGUFVLMError, ImageError, UsageError
from ggufvlm.media.loading import read
from ggufvlm.media.sources.patterns import images_in
from ggufvlm.vlm.documents import Attachments
from tests.support.clips import plain, write_clip, write_pdf
from tests.support.images import encode
from tests.support.program import run_program

PNG = encode(plain((200, 0, 0)), "PNG")
NAMES = [
    "a.png",
    "a.pdf",
    "a.PDF",
    "clip.mp4",
    "a.d.mts",
    "a.mts",
    "a.gif",
    "a.tif",
    "a.mkv",
    "a.heic",
    "a.svg",
    "a.webm",
]
HEADS = [
    b"",
    b"\0",
    PNG,
    PNG[:40],
    b"%PDF-1.7",
    b"%PDF-1.4\n%%EOF",
    b" " * 900 + b"%PDF-",
    b"<html><body>Not found</body></html>",
    b"export type A = string;\n",
    b"\0\0\0\x18ftypmp42" + bytes(40),
    b"\x1a\x45\xdf\xa3" + bytes(60),
    b"RIFF\xff\0\0\0AVI ",
    b"GIF89a\x01\0\x01\0\0\0\0",
    b"II*\0\x08\0\0\0",
    b"OggS",
    b"\0\0\x01\xba",
    (b"\x47" + bytes(187)) * 5,
    b"\xff\xd8\xff",
    b"FLV\x01" + bytes(30),
    b"....moov",
    b"....mdat" + bytes(99),
    b"8BPS",
    b"\x89PNG\r\n\x1a\n" + bytes(30),
]
contents = st.builds(lambda head, tail: head + tail, st.sampled_from(HEADS), st.binary(max_size=40))


def every_row(path: Path, *, whole: bool = False) -> None:
    """Make the rows of one file, and do all that is done to get their images."""
    try:
        rows = list(Inputs([str(path)], reading=DocumentReading(whole=whole)))
    except UsageError:
        assert whole, "it is no document"
        return
    assert rows
    for row in rows:
        try:
            if row.error is not None:
                continue
            if row.part is not None:
                row.part.strip.image(row.part.place)
            elif row.whole is not None:
                Attachments.read([*row.sources], row.whole.selection)
            else:
                read(row.sources[0]).decode()
        except GGUFVLMError:
            continue


def check(folder: Path, name: str, content: bytes, *, whole: bool) -> None:
    album = folder / "album"
    album.mkdir(exist_ok=True)
    (album / name).write_bytes(content)
    every_row(album / name, whole=whole)
    (album / name).unlink()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), content=contents, whole=st.booleans())
def test_any_content_under_any_name(tmp_path: Path, name: str, content: bytes, whole: bool) -> None:
    check(tmp_path, name, content, whole=whole)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), content=contents, whole=st.booleans())
def test_any_content_under_any_name_for_long(tmp_path: Path, name: str, content: bytes, whole: bool) -> None:
    check(tmp_path, name, content, whole=whole)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """What ended a run, and one image that is one."""
    folder = tmp_path / "album"
    folder.mkdir()
    files = {
        "a.d.mts": b"export type A = string;\n",
        "clip.mp4": b"",
        "empty.pdf": b"",
        "headless.pdf": bytes(range(256)),
        "good.png": PNG,
        "png.mp4": PNG,
        "png.pdf": PNG,
        "stub.mp4": b"\0\0\0\x18ftypmp42" + bytes(64),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_pdf(folder / "pdf.png", [plain((0, 200, 0))])
    return folder


def _run(folder: Path, *arguments: str) -> CompletedProcess[bytes]:
    return run_program(*arguments, folder=folder)


@pytest.mark.slow
def test_a_folder_of_them_is_a_row_each(album: Path) -> None:
    done = _run(album.parent, "batch", "album", "-m", "demo", "-n", "2", "-o", "out.jsonl")
    assert done.returncode == 5, done.stderr
    rows = {row["id"]: row for row in map(json.loads, (album.parent / "out.jsonl").read_text().splitlines())}
    answered = {name for name, row in rows.items() if not row["error"]}
    assert answered == {"album/good.png", "album/png.mp4", "album/png.pdf", "album/pdf.png#page=1"}
    wrong = {name.removeprefix("album/"): str(row["error"]) for name, row in rows.items() if row["error"]}
    assert set(wrong) == {"clip.mp4", "empty.pdf", "headless.pdf", "stub.mp4"}
    assert "empty" in wrong["clip.mp4"]
    assert "empty" in wrong["empty.pdf"]
    assert "permitted" not in wrong["stub.mp4"]


SHARED = [".dat", ".m2t", ".mod", ".mts", ".tod", ".ts", ".vob"]
TEXTS = {
    "index.d.mts": b"export type A = string;\n" * 100,
    "main.ts": b"export const G = 'GGGG';\n" * 400,
    "de.ts": b"<?xml version='1.0'?><!DOCTYPE TS><TS language='de'></TS>",
    "go.mod": b"module example.org/x\n\ngo 1.22\n",
    "song.mod": b"a song".ljust(1080, b"\0") + b"M.K." + bytes(range(256)) * 8,
    "table.dat": b"1.0 2.0 3.0\n" * 50,
    "empty.ts": b"",
    "clip.vob": b"no video",
}


@pytest.mark.parametrize("suffix", SHARED)
def test_a_video_whose_ending_others_have_too_is_known_by_its_contents(tmp_path: Path, suffix: str) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / f"text{suffix}").write_bytes(TEXTS["main.ts"])
    packets = suffix in (".m2t", ".mts", ".tod", ".ts")
    made = write_clip(
        tmp_path / ("clip.m2ts" if packets else "clip.mpg"),
        [(0.0, plain((9, 9, 200)))],
        1.0,
        codec="mpeg2video",
        rate=25,
    )
    clip = made.rename(tmp_path / f"film{suffix}")
    (tmp_path / "photo.png").write_bytes(PNG)
    found = {row.path for row in Inputs([str(tmp_path)]) if row.error is None or pytest.fail(str(row.error))}
    assert found == {str(clip), str(tmp_path / "photo.png")}
    assert images_in(str(tmp_path / f"*{suffix}")) == [str(clip)]
    assert [row.path for row in Inputs([str(tmp_path / f"*{suffix}")])][:1] == [str(clip)]
    every_row(clip)


def test_a_folder_of_source_code_is_no_folder_of_videos(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ImageError, match="no images there"):
        Inputs([str(tmp_path)])
    named = list(Inputs([str(tmp_path)], Filter(include=("*.mts",))))
    assert [row.path for row in named] == [str(tmp_path / "index.d.mts")], "whoever names an ending gets it"


def test_a_dry_run_counts_them(album: Path) -> None:
    done = _run(album.parent, "batch", "album", "-m", "demo", "--dry-run")
    assert done.returncode in (0, 5), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["describe", "ocr", "detect"])
def test_one_file_is_one_line(album: Path, command: str) -> None:
    for name in ("a.d.mts", "clip.mp4", "empty.pdf", "headless.pdf", "stub.mp4"):
        done = _run(album.parent, command, f"album/{name}", "-m", "demo", "-n", "2")
        lines = done.stderr.decode().splitlines()
        assert done.returncode in (3, 5), lines
        assert len([line for line in lines if not line.startswith("hint: ")]) == 1, lines


def test_labels_of_data_uris_may_lie(tmp_path: Path) -> None:
    encoded = base64.b64encode(PNG).decode()
    kinds = ("image/png", "video/mp4", "application/pdf", "text/html")
    lines = [json.dumps({"image": f"data:{kind};base64,{encoded}"}) for kind in kinds]
    (tmp_path / "list.jsonl").write_text("\n".join([*lines, json.dumps({"image": "data:video/mp4;base64,%%%"})]))
    done = _run(tmp_path, "batch", "list.jsonl", "-m", "demo", "-n", "2", "-o", "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 5, done.stderr
    assert len(rows) == 5
    assert len([row for row in rows if row["error"]]) == 1


def _spoiled(path: Path, start: float, end: float) -> None:
    """A clip whose frames are noise between these fractions of its data."""
    write_clip(path, [(0.0, plain((9, 9, 200))), (2.0, plain((200, 9, 9)))], 4.0, codec="mpeg4", key_every=5)
    clip = bytearray(path.read_bytes())
    first, last = clip.index(b"mdat") + 4, clip.index(b"moov") - 4
    from_, to = first + int(start * (last - first)), first + int(end * (last - first))
    clip[from_:to] = b"\x55" * (to - from_)
    path.write_bytes(clip)


def test_a_video_that_cannot_be_decoded_is_one_row(tmp_path: Path) -> None:
    _spoiled(tmp_path / "clip.mp4", 0.0, 1.0)
    inputs = Inputs([str(tmp_path / "clip.mp4")])
    (row,) = inputs
    assert inputs.count == 1
    assert "clip.mp4: damaged video" in str(row.error)
    assert "permitted" not in str(row.error)


def test_a_video_whose_beginning_alone_is_damaged_keeps_its_rows(tmp_path: Path) -> None:
    _spoiled(tmp_path / "clip.mp4", 0.0, 0.1)
    rows = list(Inputs([str(tmp_path / "clip.mp4")]))
    assert len(rows) == 8
    assert all(row.error is None for row in rows)
