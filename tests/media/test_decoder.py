"""PDFs and videos that take time, memory or a process: they are errors of their own, and the next file is read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.kinds import identify
from ggufvlm.media.documents import decoder
from ggufvlm.media.documents.pdf import Pdf, pages
from ggufvlm.media.documents.video import Clip
from tests.support.clips import plain, write_clip, write_pdf


def raw_pdf(objects: list[bytes]) -> bytes:
    """A PDF of these objects, the first of which is its catalogue."""
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        data
        + head
        + table
        + b"trailer <</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(data))
    )


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(content), entries, content)


def one_page(content: bytes, resources: bytes = b"", *more: bytes) -> bytes:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<<%s>>>>" % resources
    kids = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    return raw_pdf([b"<</Type/Catalog/Pages 2 0 R>>", kids, page, stream(content), *more])


def self_painting() -> bytes:
    """A form that paints itself twice, which paints itself twice."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</XObject<</F 5 0 R>>>>"
    return one_page(b"/F Do", b"/XObject<</F 5 0 R>>", stream(b"/F Do /F Do 0 0 9 9 re f", form))


def doubling(depth: int) -> bytes:
    """Forms that each paint the next one many times: no circle, and no end."""
    objects = []
    for level in range(depth):
        number = 6 + level
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</XObject<</F %d 0 R>>>>" % number
        objects.append(stream(b"/F Do " * 30, form))
    objects.append(stream(b"0 0 9 9 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]"))
    return one_page(b"/F Do", b"/XObject<</F 5 0 R>>", *objects)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "PATIENCE", 2.0)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_pdf(tmp_path / "good.pdf", [plain(color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))])


@pytest.mark.parametrize("name", ["self_painting", "doubling"])
def test_a_pdf_without_end_is_an_error_and_the_next_one_is_read(
    tmp_path: Path, good: Path, impatient: None, name: str
) -> None:
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(self_painting() if name == "self_painting" else doubling(12))
    with pytest.raises(ImageError, match=r"bad\.pdf: (reading this PDF took longer than 2 s|a damaged PDF: it ended)"):
        list(pages(bad))
    assert len(list(pages(good))) == 3


def test_a_file_that_is_open_outlives_the_process(good: Path) -> None:
    """Another file has ended it: this one is opened again, and nobody notices."""
    with Pdf(identify(good)) as pdf:
        first = pdf.page(1)
        _end_the_process()
        assert pdf.page(1).id == first.id
        _end_the_process()
        assert pdf.text(2) is None
        assert pdf.page(2).id != first.id


def test_a_video_goes_on_behind_the_frame_that_was_taken(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [(float(n), plain((40 * n, 255 - 40 * n, 0))) for n in range(6)], 6.0)
    with Clip(identify(tmp_path / "clip.mp4")) as clip:
        times = clip.times(count=6)
        whole = [(seen, image.id) for seen, image in clip.at(times)]
        again = []
        for seen, image in clip.at(times):
            again.append((seen, image.id))
            if len(again) in (1, 3):
                _end_the_process()
        assert again == whole


def test_threads_read_at_the_same_time(good: Path) -> None:
    expected = [image.id for image in pages(good)]
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append([image.id for image in pages(good)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 4


@pytest.mark.slow
def test_a_batch_gives_the_bad_file_a_row_and_goes_on(tmp_path: Path, good: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.pdf").write_bytes(self_painting())
    good.rename(tmp_path / "album" / "b.pdf")
    code = (
        "from ggufvlm.media.documents import decoder; decoder.PATIENCE = 3.0; from ggufvlm.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "batch", "album", "-m", "demo", "-n", "2", "-o", "out.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 5, done.stderr
    assert len([row for row in rows if row.get("error")]) == 1
    assert len([row for row in rows if not row.get("error")]) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
def test_ctrl_c_ends_what_pdfium_would_not(tmp_path: Path) -> None:
    """Also where a thread waits for it: Python waits for threads before it ends."""
    (tmp_path / "album").mkdir()
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / "album" / name).write_bytes(doubling(12))
    commands = ["describe album/a.pdf", "ocr album/a.pdf", "batch album -o out.jsonl", "batch album --dry-run"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "ggufvlm", *command.split(), "-m", "demo"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for command in commands
    ]
    try:
        time.sleep(3.5)
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            _, said = process.communicate(timeout=5)
            assert process.returncode == 130, said
            assert "interrupted" in said.splitlines()[-1]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_what_fails_unexpectedly_is_told_with_the_name(tmp_path: Path, good: Path) -> None:
    with Pdf(identify(good)) as pdf:
        with pytest.raises(ImageError, match=r"good\.pdf: damaged, .*AttributeError"):
            pdf.call("no_such_method")
        assert pdf.page(1).width


def _end_the_process() -> None:
    worker = decoder._decoder._worker
    assert worker is not None
    os.kill(worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    worker._ended.wait(30)
