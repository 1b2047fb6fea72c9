"""Frames of videos as images."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm import VLM
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.decoding.kinds import identify
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.media.documents.video import Clip, frames
from ggufvlm.media.documents.video_reader import timestamp
from ggufvlm.media.documents.video_scenes import cuts_in, scene_places
from tests.support.clips import TURNS, plain, turn, write_clip, write_sound, write_uneven_clip
from tests.support.images import halves
from tests.support.scenes import random_scene

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LIGHTS = [(0, plain(RED)), (2, plain(GREEN)), (3, plain(BLUE))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seen(found) -> list[tuple[float, tuple[int, ...]]]:
    return [(round(time, 3), tuple(255 if value > 127 else 0 for value in image.rgb[:3])) for time, image in found]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.bin", "libx264"),
    ],
)
def test_frames_are_those_that_a_player_shows(name, codec):
    write_clip(Path(f"clip{Path(name).suffix if name != 'a.bin' else '.mp4'}"), LIGHTS, 6, codec=codec)
    path = next(Path.cwd().glob("clip.*")).rename(name)
    expected = [(0, RED), (1, RED), (2, GREEN), (3, BLUE), (4, BLUE), (5, BLUE)]
    assert seen(frames(path.name, every=1.0)) == expected
    assert seen(frames(path.name, count=3)) == [(1, RED), (3, BLUE), (5, BLUE)]
    assert [image.source for _, image in frames(name, 2.5)] == [f"{name} at 0:0{s}" for s in ("0.0", "2.5", "5.0")]


def test_long_clips_are_reached_by_seeking(demo: VLM):
    """A different grey every second, and key frames wherever the encoder puts them."""
    greys = [(second, plain((2 * second,) * 3)) for second in range(120)]
    write_clip(Path("long.mp4"), greys, 120, key_every=73)
    found = [(time, image.rgb[0]) for time, image in frames("long.mp4", every=17.0)]
    assert len(found) == 8
    assert all(abs(grey - 2 * int(time)) <= 2 for time, grey in found)
    found = [(time, image.rgb[0]) for time, image in frames("long.mp4", every=0.5)]
    assert len(found) == 240
    assert all(abs(grey - 2 * int(time)) <= 2 for time, grey in found)


def test_uneven_frame_rate_and_an_image_that_stands():
    timed = [
        (0, plain(RED)),
        (0.04, plain(RED)),
        (3, plain(GREEN)),
        (3.5, plain(BLUE)),
        (9, plain(RED)),
        (10, plain(RED)),
    ]
    write_uneven_clip(Path("uneven.mkv"), timed)
    found = seen(frames("uneven.mkv", every=1.0))
    assert found[:4] == [(0, RED), (1, RED), (3, GREEN), (4, BLUE)]
    assert next(item for item in found if item[0] > 4) == (9, RED)


@pytest.mark.parametrize("degrees", TURNS)
def test_clips_of_telephones_stand_upright(degrees):
    write_clip(Path("flat.mp4"), [(0, halves(160, 120))], 1)
    Path("turned.mp4").write_bytes(turn(Path("flat.mp4").read_bytes(), degrees))
    (_, flat), (_, turned) = next(frames("flat.mp4", count=1)), next(frames("turned.mp4", count=1))
    expected = np.rot90(pixels(flat), -degrees // 90)
    assert pixels(turned).shape == expected.shape
    assert np.abs(pixels(turned).astype(int) - expected).max() <= 2


def test_wide_pixels_are_made_square():
    with av.open("wide.mkv", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_image(plain(RED))))
        container.mux(stream.encode(None))
    ((_, image),) = frames("wide.mkv", count=1)
    assert (image.width, image.height) == (240, 120)


def pixels(image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def test_damaged_and_foreign_files_are_named():
    whole = write_clip(Path("whole.mp4"), LIGHTS, 6).read_bytes()
    film = write_clip(Path("whole.mkv"), [(i / 10, plain((i, 255 - i, 0))) for i in range(60)], 6).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 2])
    Path("cut.mkv").write_bytes(film[: len(film) // 2])
    Path("garbage.mp4").write_bytes(whole[:32] + random.Random(0).randbytes(4000))
    Path("image.mp4").write_bytes(b"GIF89a")
    Path("empty.mp4").touch()
    write_sound(Path("sound.m4a"))
    words = {
        "cut.mp4": "damaged",
        "cut.mkv": "cut off",
        "garbage.mp4": "damaged",
        "image.mp4": "not a video",
        "empty.mp4": "not a video",
        "none.mp4": "no such",
        "sound.m4a": "only sound",
    }
    for name, why in words.items():
        with pytest.raises(ImageError, match=rf"{name}.*{why}|{why}.*{name}"):
            list(frames(name, count=6))


def test_a_track_without_frames():
    with av.open("none.mkv", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()
    with pytest.raises(ImageError, match=r"none\.mkv"):
        list(frames("none.mkv", count=3))


def test_samplings_that_make_no_sense():
    write_clip(Path("a.mp4"), LIGHTS, 1)
    for sampling in ({}, {"every": 0}, {"every": -1.0}, {"every": 1e-9}, {"count": 0}, {"every": 1.0, "count": 2}):
        with pytest.raises(UsageError):
            list(frames("a.mp4", **sampling))


def test_times_as_people_write_them():
    assert [timestamp(t) for t in (0, 12, 59.96, 3723.5)] == ["0:00.0", "0:12.0", "1:00.0", "1:02:03.5"]


def test_a_clip_is_described_in_the_order_in_which_it_happens(demo: VLM):
    scenes = [random_scene(random.Random(seed), 196, 140) for seed in range(6)]
    write_clip(Path("scenes.mp4"), [(2 * i, scene.draw(196, 140)) for i, scene in enumerate(scenes)], 12)
    found = [(time, demo.describe(image).text) for time, image in frames("scenes.mp4", every=2.0)]
    assert found == [(2.0 * i, scene.caption) for i, scene in enumerate(scenes)]


# -- scenes


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.mp4", "libx264", 10), ("a.mkv", "libx264", 25), ("a.avi", "mpeg4", 30)]
)
def test_cuts_are_found_where_they_are(name, codec, rate):
    starts = [0, 1.3, 4, 4.9, 9.1]
    scenes = [random_scene(random.Random(seed), 196, 140).draw(196, 140) for seed in range(5)]
    write_clip(Path(name), list(zip(starts, scenes, strict=True)), 12, codec=codec, rate=rate)
    with Clip(identify(name)) as clip:
        found = clip.cuts()
        assert found == pytest.approx(starts[1:], abs=0.2)
        assert all(time >= start - 1e-6 for time, start in zip(found, starts[1:], strict=True)), "behind it, not before"
        assert len(list(clip.at([0.5, 2, 4.5]))) == 3, "frames can be taken afterwards"


def test_movement_is_no_cut():
    """A block that crosses the image, on a background that brightens, and one cut among it."""

    def image(i: int) -> PIL.Image.Image:
        image = plain((3 * i, 80, 80) if i < 40 else (20, 20, 250 - 3 * i), (320, 180))
        image.paste((250, 250, 250), (6 * i, 60, 6 * i + 60, 120))
        return image

    write_clip(Path("pan.mp4"), [(i / 10, image(i)) for i in range(60)], 6)
    with Clip(identify("pan.mp4")) as clip:
        assert clip.cuts() == pytest.approx([4.0], abs=0.11)


def test_slides_that_stand_are_cut_apart_whatever_their_frame_rate():
    timed = [(0, plain(RED)), (3, plain(GREEN)), (7, plain(BLUE)), (12, plain(RED)), (14, plain(RED))]
    write_uneven_clip(Path("slides.mkv"), timed)
    with Clip(identify("slides.mkv")) as clip:
        assert clip.cuts() == pytest.approx([3, 7, 12], abs=0.01)


def test_a_frame_of_each_scene_then_more_of_the_longest():
    write_clip(Path("lights.mp4"), [(0, plain(RED)), (8, plain(GREEN)), (9, plain(BLUE))], 12)

    def taken(**wanted) -> list[tuple[float, tuple[int, ...]]]:
        document = open_document(identify("lights.mp4"), Selection(scenes=True, **wanted))
        return seen((time, image) for time, image in document.images())

    times, colors = zip(*taken(frames=3), strict=True)
    assert times == pytest.approx((0.5, 8.5, 9.5), abs=0.11)
    assert colors == (RED, GREEN, BLUE)
    assert [color for _, color in taken(frames=1)] == [RED]
    assert [color for _, color in taken(frames=2)] == [RED, BLUE]
    with Clip(identify("lights.mp4")) as clip:
        assert len(scene_places(clip.cuts(), 0, clip.duration, 8)) == 8
    assert len(open_document(identify("lights.mp4"), Selection(scenes=True)).places) == 8
    with pytest.raises(UsageError):
        Selection(scenes=True, every=1.0)
    with pytest.raises(UsageError):
        taken(frames=0)


@given(st.lists(st.floats(0.1, 99), max_size=12), st.integers(1, 40))
def test_places_rise_and_lie_within_and_are_as_many_as_wanted(cuts, n):
    cuts = sorted(set(cuts))
    places = scene_places(cuts, 0.0, 100.0, n)
    assert len(places) == n
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    bounds = [0.0, *cuts, 100.0]
    filled = sum(any(a <= place < b for place in places) for a, b in itertools.pairwise(bounds))
    assert filled == min(n, len(bounds) - 1), "no scene is left out while another one has two"


@given(st.lists(st.floats(0, 255), min_size=1, max_size=50))
def test_cuts_keep_their_distance(differences):
    times = [i * 0.1 for i in range(len(differences))]
    cuts = cuts_in(times, differences)
    assert set(cuts) <= set(times)
    assert all(b - a >= 0.6 for a, b in itertools.pairwise(cuts))


def test_a_damaged_file_has_no_scenes():
    film = write_clip(Path("whole.mp4"), LIGHTS, 6).read_bytes()
    Path("cut.mp4").write_bytes(film[: len(film) // 2])
    with pytest.raises(ImageError, match=r"cut\.mp4"):
        open_document(identify("cut.mp4"), Selection(scenes=True))


def test_turned_clips_are_cut_as_flat_ones():
    Path("turned.mp4").write_bytes(turn(write_clip(Path("flat.mp4"), LIGHTS, 6).read_bytes(), 90))
    with Clip(identify("turned.mp4")) as clip:
        assert clip.cuts() == pytest.approx([2, 3], abs=0.11)


def test_a_recording_that_does_not_say_how_long_it_is():
    """As a program writes it that cannot go back to its beginning."""
    with av.open("live.mkv", "w", options={"live": "1"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(60):
            color = next(image for start, image in reversed(LIGHTS) if start <= number / 10)
            container.mux(stream.encode(av.VideoFrame.from_image(color)))
        container.mux(stream.encode(None))
    with av.open("live.mkv") as container:
        assert container.duration is None
        assert container.streams.video[0].duration is None
    with Clip(identify("live.mkv")) as clip:
        assert clip.duration == pytest.approx(6, abs=0.2)
        assert clip.cuts() == pytest.approx([2, 3], abs=0.11)
        assert seen(clip.at([0.5, 2.5, 5])) == [(0.5, RED), (2.5, GREEN), (5, BLUE)]


def test_streams_of_cameras_are_read(folder: Path) -> None:
    """AVCHD puts a time before each packet; a recording that was cut begins within one."""
    plain_stream = write_clip(Path("clip.ts"), [(0.0, plain((200, 30, 30)))], 3.0, codec="mpeg2video").read_bytes()
    packets = [plain_stream[at : at + 188] for at in range(0, len(plain_stream), 188)]
    forms = {"clip.m2ts": b"".join(bytes(4) + packet for packet in packets), "cut.ts": plain_stream[100:]}
    for name, content in forms.items():
        Path(name).write_bytes(content)
        (_, image), *_ = frames(name, count=2)
        red, green, blue = image.rgb[:3]
        assert red > 150 > 90 > max(green, blue)
