"""Long videos: windows, and one answer from many."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.decoding.kinds import identify
from ggufvlm.media.documents.document import Selection
from ggufvlm.media.documents.video import Clip
from ggufvlm.tasks.long_video import cut_windows, plan_windows, sum_up, watch
from tests.support.clips import plain, write_clip, write_pdf, write_sound
from tests.support.scenes import random_scene

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(6)]
CAPTIONS = [scene.caption for scene in SCENES]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds, another scene every two."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_clip(path, [(2 * i, scene.draw(196, 140)) for i, scene in enumerate(SCENES)], 12)


@given(st.floats(0, 1e5), st.floats(1, 1e4))
def test_windows_cover_the_video_once(duration: float, length: float) -> None:
    if duration / length > 10_000:
        return
    windows = cut_windows(duration, length)
    assert windows[0][0] == 0
    assert windows[-1][1] >= duration or windows[-1][1] == pytest.approx(duration)
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(windows))
    assert all(end - start <= 1.2501 * length for start, end in windows)
    assert all(end - start > 0.249 * length for start, end in windows[1:])


def test_a_short_rest_belongs_to_the_window_before() -> None:
    assert cut_windows(130, 60) == [(0, 60), (60, 130)]
    assert cut_windows(150, 60) == [(0, 60), (60, 120), (120, 150)]
    assert cut_windows(20, 60) == [(0, 20)]
    assert cut_windows(180, 60) == [(0, 60), (60, 120), (120, 180)]
    for wrong in (0.0, -1.0, float("inf"), float("nan"), 1e-9):
        with pytest.raises(UsageError):
            cut_windows(100, wrong)


def test_frames_of_windows(clip: Path) -> None:
    with Clip(identify(clip)) as opened:
        plan = plan_windows(opened, 4.0, Selection(frames=2))
        assert [(window.start, window.end, window.places) for window in plan] == [
            (0, 4, (1, 3)),
            (4, 8, (5, 7)),
            (8, 12, (9, 11)),
        ]
        assert [window.label for window in plan][1] == "0:04.0-0:08.0"
        plan = plan_windows(opened, 6.0, Selection(every=2.5))
        assert [window.places for window in plan] == [(0, 2.5, 5), (7.5, 10)]
        assert [len(window.places) for window in plan_windows(opened, 6.0, Selection())] == [8, 8]
        with_cuts = plan_windows(opened, 6.0, Selection(scenes=True, frames=3))
        assert [[int(place // 2) for place in window.places] for window in with_cuts] == [[0, 1, 2], [3, 4, 5]]
        assert plan_windows(opened, 1.0, Selection(every=4.0))[1].places == (1.5,), "no window is left without a frame"
        for wrong in (Selection(frames=0), Selection(frames=100_000)):
            with pytest.raises(UsageError):
                plan_windows(opened, 4.0, wrong)


def test_what_happens_is_told_in_the_order_in_which_it_does(demo: VLM, clip: Path) -> None:
    answers = list(watch(demo, identify(clip), "Describe this image.", length=2.0, selection=Selection(frames=1)))
    assert [item.answer.text for item in answers] == CAPTIONS
    assert [item.used for item in answers] == [(1.0,), (3.0,), (5.0,), (7.0,), (9.0,), (11.0,)]
    assert answers[2].to_dict() == {
        "start": 4.0,
        "end": 6.0,
        "frames": [5.0],
        "text": CAPTIONS[2],
        "finish_reason": "stop",
        "stop_reason": None,
    }


def test_two_frames_of_a_window_are_two_images_in_order(demo: VLM, clip: Path) -> None:
    """Their times stand before them, which the built-in model has never seen; it counts the images all the same."""
    (first, *_) = watch(demo, identify(clip), "Describe each image.", length=4.0, selection=Selection(frames=2))
    assert first.used == (1.0, 3.0)
    sources = [image.source.rpartition("/")[2] for image in first.answer.images]
    assert sources == ["clip.mp4 at 0:01.0", "clip.mp4 at 0:03.0"]


def test_frames_that_do_not_fit_are_left_out_evenly(clip: Path) -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=300)) as vlm:
        answers = list(watch(vlm, identify(clip), "What?", length=6.0, selection=Selection(every=0.5)))
        assert len(answers) == 2
        for item in answers:
            assert 2 <= len(item.used) < 12
            assert item.answer.usage.n_prompt <= 225
            assert item.used[0] < item.window.start + 2 < item.window.end - 2 <= item.used[-1] + 0.5
        text = sum_up(vlm, answers, "What happens?", max_tokens=4).answer
        assert text.usage.n_prompt < 300
        assert text.images == ()


def test_a_frame_is_kept_however_small_the_context(clip: Path) -> None:
    with VLM.load("demo", config=EngineConfig(n_ctx=64)) as vlm:
        (answer, *_) = watch(vlm, identify(clip), "Hm?", length=12.0)
        assert len(answer.used) == 1


def test_many_answers_are_summed_up_in_parts(clip: Path) -> None:
    """Twelve notes are three times as long as the context: halves are summed up until they fit."""
    with VLM.load("demo", config=EngineConfig(n_ctx=256)) as vlm:
        selection = Selection(frames=1)
        answers = list(watch(vlm, identify(clip), "Describe this image.", length=1.0, selection=selection))
        assert len(answers) == 12
        whole = sum_up(vlm, answers, "What happens?", max_tokens=4).answer
        assert whole.usage.n_prompt < 200
        assert whole.finish_reason in ("stop", "length")


def test_the_last_question_holds_all_answers_in_order(demo: VLM, clip: Path) -> None:
    answers = list(watch(demo, identify(clip), "Describe this image.", length=4.0, selection=Selection(frames=1)))
    one, all_of_them = (sum_up(demo, some, "Why?", max_tokens=1).answer for some in (answers[:1], answers))
    assert all_of_them.usage.n_prompt > one.usage.n_prompt + 2 * 8
    with pytest.raises(UsageError):
        sum_up(demo, [], "Why?")


def test_what_is_no_video_is_named(demo: VLM, tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", [plain((255, 0, 0))])
    write_sound(tmp_path / "sound.m4a")
    whole = write_clip(tmp_path / "whole.mkv", [(i / 10, plain((i, 255 - i, 0))) for i in range(100)], 10).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    for name, words in (("a.pdf", "not a video"), ("sound.m4a", "only sound"), ("cut.mkv", "cut off")):
        with pytest.raises(ImageError, match=rf"{name}.*{words}"):
            list(watch(demo, identify(tmp_path / name), "What?", length=2.0, selection=Selection(frames=1)))
