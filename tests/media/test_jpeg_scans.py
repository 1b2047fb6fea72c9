"""Half a JPEG with an end marker is told by its coded data; a photo that is grey below is shown."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import decode
from tests.support.images import encode

END = b"\xff\xd9"
SCAN = b"\xff\xda"
GREY = (128, 128, 128)
WAYS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no subsampling": {"subsampling": 0},
    "half": {"subsampling": 1},
    "own tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 5},
}


def noise(width: int = 160, height: int = 128, mode: str = "RGB") -> PIL.Image.Image:
    n_bands = len(PIL.Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(7).integers(0, 256, (height, width, n_bands), np.uint8)
    return PIL.Image.fromarray(levels[:, :, 0] if n_bands == 1 else levels, mode)


def closed(data: bytes, share: float) -> bytes:
    """The first part of what is coded, with an end marker."""
    start = data.index(SCAN) + 4
    start += data[start - 1] - 2
    return data[: start + int(share * (len(data) - start))] + END


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_a_part_that_is_closed_with_an_end_marker_is_told(way: str, mode: str, share: float) -> None:
    data = encode(noise(mode=mode), "JPEG", **WAYS[way])
    decode(data, "whole")
    with pytest.raises(ImageError, match=r"^photo\.jpg: the file is cut off \(truncated JPEG\)$"):
        decode(closed(data, share), "photo.jpg")


def test_a_part_that_ends_between_two_restarts_is_told() -> None:
    data = encode(noise(), "JPEG", restart_marker_rows=1)
    places = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data[data.index(SCAN) :])]
    assert len(places) == 7
    for place in places:
        for with_marker in (0, 2):
            with pytest.raises(ImageError, match="cut off"):
                decode(data[: data.index(SCAN) + place + with_marker] + END, "a")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_grey_below_or_all_over_is_shown(way: str, mode: str) -> None:
    for top in (0, 64):
        image = noise(mode=mode)
        level = GREY[: len(image.getbands())] + (0,) * (mode == "CMYK")
        image.paste(level if len(level) > 1 else level[0], (0, top, 160, 128))
        data = encode(image, "JPEG", **WAYS[way])
        whole = decode(data, "a")
        if mode != "CMYK":
            assert set(whole.rgb[-3 * 160 * 40 :]) == {128}
        assert decode(data[:-2], "a").id == whole.id, "without an end marker"
        assert decode(data + noise().tobytes() + END, "a").id == whole.id, "with something behind it"


def test_zeros_in_place_of_what_was_not_downloaded_are_told() -> None:
    data = encode(noise(), "JPEG", quality=90)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: len(data) // 2].ljust(len(data), b"\0"), "a")
    assert decode(data[:-2] + bytes(4096), "a").id == decode(data, "a").id


@pytest.mark.parametrize("way", WAYS)
def test_zeros_that_code_a_white_margin_are_not_taken_for_missing(way: str) -> None:
    page = PIL.Image.new("RGB", (640, 640), "white")
    page.paste(noise(), (0, 0))
    data = encode(page, "JPEG", **WAYS[way])
    assert way != "own tables" or bytes(64) in data
    assert decode(data[:-2], "a").id == decode(data, "a").id


def in_three_scans(*levels: int) -> tuple[bytes, list[bytes]]:
    """Head and scans of a JPEG of one scan for each component, which Pillow does not write, of three grey ones."""
    files = [encode(noise(mode="L").point(lambda value, of=of: value * of // 255), "JPEG") for of in levels]
    head, _, _ = files[0].partition(SCAN)
    one = re.search(rb"\xff\xc0\0\x0b(.{5})\x01\x01\x11\0", head, re.DOTALL)
    assert one is not None
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = head.replace(one[0], b"\xff\xc0\0\x11" + one[1] + b"\x03" + components)
    coded = [file.partition(SCAN)[2][8:-2] for file in files]
    scans = [SCAN + bytes((0, 8, 1, number, 0, 0, 63, 0)) + code for number, code in enumerate(coded, 1)]
    return head, scans


def test_a_scan_for_each_component() -> None:
    head, scans = in_three_scans(255, 200, 100)
    whole = b"".join((head, *scans, END))
    assert (decode(whole, "a").width, decode(whole, "a").height) == (160, 128)
    for part in (scans[:1], scans[:2], [*scans[:2], scans[2][: len(scans[2]) // 2]]):
        with pytest.raises(ImageError, match="cut off"):
            decode(b"".join((head, *part, END)), "a")


def test_a_header_that_says_nothing_of_coefficients_is_believed_to_mean_all() -> None:
    data = encode(noise(), "JPEG")
    at = data.index(SCAN) + 11
    assert data[at : at + 3] == bytes((0, 63, 0))
    careless = data[:at] + bytes(3) + data[at + 3 :]
    assert decode(careless, "a").id == decode(data, "a").id
    with pytest.raises(ImageError, match="cut off"):
        decode(closed(careless, 0.5), "a")


def test_the_last_bits_may_be_missing() -> None:
    data = encode(noise(640, 480), "JPEG")
    assert decode(data[:-4] + END, "a").width == 640
    assert decode(data[:-4], "a").width == 640


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    way=st.sampled_from(sorted(WAYS)),
    seed=st.integers(0, 1 << 16),
    contrast=st.sampled_from([0, 3, 40, 128]),
    share=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_a_part_is_told_or_shows_nearly_all(
    size: tuple[int, int], way: str, seed: int, contrast: int, share: float
) -> None:
    generator = np.random.default_rng(seed)
    middle = generator.integers(0, 256, 3)
    levels = middle + generator.integers(-contrast, contrast + 1, (size[1], size[0], 3))
    data = encode(PIL.Image.fromarray(levels.clip(0, 255).astype(np.uint8)), "JPEG", **WAYS[way])
    whole = decode(data, "a")
    assert decode(data[:-2], "a").id == whole.id
    try:
        part = decode(closed(data[:-2], share), "a")
    except ImageError:
        return
    changed = np.frombuffer(part.rgb, np.uint8) != np.frombuffer(whole.rgb, np.uint8)
    assert not changed.reshape(size[1], size[0], 3)[: max(0, (size[1] - 1) // 16 * 16 - 1)].any()


@given(head=st.binary(max_size=60), at=st.integers(0, 5000), put=st.binary(min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_no_damage_is_a_traceback(head: bytes, at: int, put: bytes) -> None:
    data = encode(noise(48, 48), "JPEG", progressive=bool(at % 2))
    at %= len(data)
    for damaged in (b"\xff\xd8" + head, b"\xff\xd8\xff" + head + data[2:], data[:at] + put + data[at + len(put) :]):
        with contextlib.suppress(ImageError):
            decode(damaged, "a")
