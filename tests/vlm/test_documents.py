"""Pages and frames as the contents of one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media import Image
from ggufvlm.media.documents.document import Selection
from ggufvlm.vlm.documents import Attachments
from tests.support.clips import plain, write_clip, write_pdf

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pages = [plain(color, (140, 140)) for color in COLORS]
    write_pdf(Path("six.pdf"), pages)
    write_pdf(Path("one.pdf"), pages[:1])
    write_clip(Path("clip.mp4"), [(2 * i, page) for i, page in enumerate(pages)], 12)
    pages[0].save("photo.png")


def texts(content) -> list[str]:
    return [item if isinstance(item, str) else f"<{item.source}>" for item in content]


def fit(vlm: VLM, sources, **selection) -> tuple[list[str], list[str]]:
    messages, notes = Attachments.read(sources, Selection(**selection)).fit(vlm, "What?")
    return texts(messages[-1].content), notes


def test_pages_stand_behind_their_numbers(demo: VLM):
    content, notes = fit(demo, ["six.pdf"], pages="5,1-2")
    assert "".join(content) == (
        "[page 5]\n<six.pdf page 5>\n[page 1]\n<six.pdf page 1>\n[page 2]\n<six.pdf page 2>\nWhat?"
    )
    assert notes == []


def test_frames_stand_behind_their_times(demo: VLM):
    content, _ = fit(demo, ["clip.mp4"], frames=2)
    assert "".join(content) == "[0:03.0]\n<clip.mp4 at 0:03.0>\n[0:09.0]\n<clip.mp4 at 0:09.0>\nWhat?"
    content, _ = fit(demo, ["clip.mp4"], every=2.0)
    assert sum(item.startswith("<") for item in content) == 6
    content, _ = fit(demo, ["clip.mp4"])
    assert sum(item.startswith("<") for item in content) == 8


def test_several_sources_are_told_apart(demo: VLM):
    content, _ = fit(demo, ["photo.png", "six.pdf", "clip.mp4"], pages="2", frames=1)
    assert [item for item in content if item.startswith("[")] == [
        "[photo.png]\n",
        "[six.pdf, page 2]\n",
        "[clip.mp4, 0:06.0]\n",
    ]


def test_a_single_page_is_asked_about_like_an_image(demo: VLM):
    assert fit(demo, ["one.pdf"]) == (["<one.pdf page 1>", "What?"], [])


def test_what_does_not_fit_is_left_out_and_told() -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=160)) as vlm:
        attachments = Attachments.read(["six.pdf"])
        messages, notes = attachments.fit(vlm, "What?")
        assert vlm.measure(messages).total <= 120
        used = len(messages[-1].images)
        assert 2 <= used < 6
        assert notes == [f"six.pdf: {used} of 6 pages fit: 1-{used}"]
        messages, (note,) = Attachments.read(["clip.mp4"], Selection(every=2.0)).fit(vlm, "What?")
        times = [image.source.rpartition(" ")[2] for image in messages[-1].images]
        assert note == f"clip.mp4: {len(times)} of 6 frames fit: {', '.join(times)}"
        assert vlm.stream(messages).answer.text


def test_a_note_does_not_list_times_without_end() -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=1500)) as vlm:
        messages, (note,) = Attachments.read(["clip.mp4"], Selection(frames=90)).fit(vlm, "What?")
    times = [image.source.rpartition(" ")[2] for image in messages[-1].images]
    assert len(times) > 12
    assert note == f"clip.mp4: {len(times)} of 90 frames fit: {', '.join(times[:11])}, ... {times[-1]}"


def test_frames_that_are_left_out_are_spread_over_the_clip() -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=160)) as vlm:
        messages, _ = Attachments.read(["clip.mp4"], Selection(every=0.5)).fit(vlm, "What?")
        times = [float(image.source.rpartition(":")[2]) for image in messages[-1].images]
        assert times[0] < 4
        assert times[-1] > 8


def test_one_image_is_kept_however_small_the_context() -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=64)) as vlm:
        messages, notes = Attachments.read(["six.pdf"]).fit(vlm, "What?")
        assert len(messages[-1].images) == 1
        assert len(notes) == 1


def test_selections_for_nothing_are_refused():
    for sources, selection in (
        (["clip.mp4"], Selection(pages="1")),
        (["six.pdf"], Selection(frames=2)),
        (["photo.png"], Selection(every=1.0)),
        (["six.pdf"], Selection(pages="7")),
    ):
        with pytest.raises(UsageError):
            Attachments.read(sources, selection)
    with pytest.raises(UsageError):
        Selection(every=1.0, frames=2)


def test_images_that_are_read_already(demo: VLM):
    image = Image.from_rgb(28, 28, bytes(28 * 28 * 3), "<black>")
    messages, notes = Attachments.of([image]).fit(demo, "What?", "Be brief.")
    assert [message.role for message in messages] == ["system", "user"]
    assert messages[-1].content == (image, "What?")
    assert notes == []


def test_a_damaged_file_is_an_error():
    Path("cut.pdf").write_bytes(Path("six.pdf").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cut\.pdf"):
        Attachments.read(["photo.png", "cut.pdf"])
