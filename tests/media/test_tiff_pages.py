"""TIFF of several pages: a document like a PDF; with thumbnails beside one image it stays an image."""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import AppendingTiffWriter

from ggufvlm.errors import ImageError, ImageWarning, UsageError
from ggufvlm.media import load, load_single, pages
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify, kind_of
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.media.documents.tiff_pages import Scan
from tests.support.images import encode
from tests.support.tiffs import grey_page, tiff

REDUCED, MASK, OLD_REDUCED = {"tag_254": 1}, {"tag_254": 4}, {"tag_255": 2}


def levels(data: bytes, selection: str | None = None) -> list[int]:
    """The level of each page, by way of a document."""
    assert kind_of(data) is FileKind.SCAN
    document = open_document(MediaFile(FileKind.SCAN, data, "scan.tif"), Selection(pages=selection))
    return [image.rgb[0] for _, image in document.images()]


def a4(level: int, **more: int) -> Any:
    return grey_page(210, 297, level, **more)


def test_pages_are_counted_chosen_and_named() -> None:
    data = tiff([a4(level) for level in (10, 20, 30, 40)])
    assert levels(data) == [10, 20, 30, 40]
    assert levels(data, "4,2-3") == [40, 20, 30]
    document = open_document(MediaFile(FileKind.SCAN, data, "scan.tif"), Selection(pages="2-3"))
    assert (document.n_pages, document.places, document.label(3)) == (4, (2, 3), "page 3")
    assert [image.source for _, image in document.images()] == ["scan.tif page 2", "scan.tif page 3"]
    with pytest.raises(UsageError, match="there are 4"):
        levels(data, "5")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
def test_pages_as_others_write_them(tmp_path: Path, compression: str | None) -> None:
    sheets = [PIL.Image.new("1", (60 + n, 80)) for n in range(3)]
    sheets[0].save(
        tmp_path / "fax.tif", save_all=True, append_images=sheets[1:], compression=compression, dpi=(204, 98)
    )
    assert kind_of(tmp_path / "fax.tif") is FileKind.SCAN
    found = list(pages(tmp_path / "fax.tif"))
    assert [(page.width, page.height) for page in found] == [(60 + n, round(80 * 204 / 98)) for n in range(3)]
    with pytest.warns(ImageWarning, match="a TIFF of 3 pages"):
        assert load(tmp_path / "fax.tif").id == found[0].id


@pytest.mark.parametrize(
    "beside",
    [
        [grey_page(21, 30, 1, **REDUCED)],
        [grey_page(210, 297, 1, **MASK)],
        [grey_page(105, 149, 1, **OLD_REDUCED), grey_page(52, 74, 1, **OLD_REDUCED)],
        [grey_page(52, 74, 1)],  # a thumbnail that does not say so
        [grey_page(105, 149, 1, tag_322=16), grey_page(52, 74, 1, tag_322=16)],  # a pyramid that does not say so
        [grey_page(16, 16, 1, tag_256=0, tag_257=0, tag_259=6, tag_513=8)],  # of Exif: without a size
        [],
    ],
)
def test_one_image_with_others_beside_it_is_an_image(beside: list[Any]) -> None:
    data = tiff([a4(77), *beside])
    assert kind_of(data) is FileKind.IMAGE
    assert load(data).rgb[0] == 77
    assert levels(tiff([a4(77), *beside, a4(78), *beside])) == [77, 78]


@pytest.mark.parametrize(
    "others",
    [
        [grey_page(105, 149, 5)],  # half the resolution
        [grey_page(80, 297, 5)],  # a receipt
        [grey_page(297, 210, 5), grey_page(297, 210, 6)],  # on its side
        [grey_page(52, 74, 5, tag_254=2)],  # a page, it says
        [grey_page(52, 74, 5, tag_297=1)],  # a page with a number
        [grey_page(52, 74, 5, tag_255=3)],
        [grey_page(1000, 1400, 5)],  # the first is smaller
    ],
)
def test_pages_of_other_sizes_are_pages(others: list[Any]) -> None:
    assert levels(tiff([a4(77), *others]))[0] == 77
    assert len(levels(tiff([a4(77), *others]))) == 1 + len(others)


@pytest.mark.parametrize(
    "tags", [{"tag_50706": 0x01040000}, {"tag_262": 32803}, {"tag_262": 34892}, {"tag_259": 34713}]
)
def test_a_file_of_a_camera_is_no_document(tags: dict[str, int]) -> None:
    assert kind_of(tiff([a4(1), a4(2), a4(3, **tags)])) is FileKind.IMAGE
    whole = tiff([a4(1), a4(2)])
    assert kind_of(whole[:4] + (16).to_bytes(4, "little") + b"CR\x02\0" + bytes(4) + whole[8:]) is FileKind.IMAGE


@pytest.mark.parametrize("n_bytes", [1, 200, 40_000])
def test_a_part_of_a_document_is_told_and_not_shown_as_its_first_page(tmp_path: Path, n_bytes: int) -> None:
    (tmp_path / "cut.tif").write_bytes(tiff([a4(1), a4(2), a4(3)])[:-n_bytes])
    with pytest.raises(ImageError, match=r"cut\.tif: the file is cut off \(truncated TIFF\)"):
        list(pages(tmp_path / "cut.tif"))


def test_a_page_that_cannot_be_read_is_told_and_the_others_are_shown() -> None:
    data = tiff([a4(1), a4(2, tag_259=60000), a4(3)])
    with Scan(MediaFile(FileKind.SCAN, data, "scan.tif")) as scan:
        assert scan.page(1).rgb[0] == 1
        with pytest.raises(ImageError, match=r"^scan\.tif page 2: "):
            scan.page(2)
        assert scan.page(3).rgb[0] == 3


@pytest.mark.parametrize("end", [8, 1 << 20, 0xFFFFFFFF, 3])
def test_directories_in_a_circle_or_nowhere_end(end: int) -> None:
    first = int.from_bytes(tiff([a4(1)])[4:8], "little")
    for place in (first, end):
        began = time.monotonic()
        kind_of(tiff([a4(1), a4(2)], end=place))
        assert time.monotonic() - began < 5
    assert levels(tiff([a4(1), a4(2)], end=first)) == [1, 2]


def test_colours_of_a_page_are_its_own(tmp_path: Path) -> None:
    """Pillow keeps the profile of the page before."""
    red = PIL.Image.new("RGB", (60, 80), (200, 30, 30))
    swapped = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    # red and green primaries change places
    swapped = swapped.replace(b"rXYZ", b"tmp!", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tmp!", b"gXYZ", 1)
    with AppendingTiffWriter(str(tmp_path / "scan.tif"), new=True) as writer:
        red.save(writer, "TIFF", icc_profile=swapped)
        writer.newFrame()
        red.save(writer, "TIFF")
    with Scan(identify(tmp_path / "scan.tif")) as scan:
        first, second, again = scan.page(1), scan.page(2), scan.page(1)
    assert tuple(second.rgb[:3]) == (200, 30, 30)
    assert first.rgb[1] > first.rgb[0]
    assert again.id == first.id


def test_a_page_that_lies_on_its_side_may_be_taken_twice() -> None:
    sheets = [PIL.Image.new("L", (60, 40)), PIL.Image.new("L", (50, 40))]
    exif = PIL.Image.Exif()
    exif[274] = 6
    data = encode(sheets[0], "TIFF", save_all=True, append_images=sheets[1:], exif=exif, dpi=(200, 100))
    with Scan(MediaFile(FileKind.SCAN, data, "scan.tif")) as scan:
        sizes = [(page.width, page.height) for page in map(scan.page, (1, 1, 2, 2, 1))]
    assert sizes[0] == (80, 60)
    assert sizes == [sizes[0], sizes[0], sizes[2], sizes[2], sizes[0]]


def test_pages_that_pillow_has_no_decoder_for(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "float.tif") as writer:
        for level in (0.2, 0.4, 0.6):
            color = np.full((40, 30, 3), level, np.float32)
            writer.write(color, photometric="rgb", metadata=None)
    found = list(pages(tmp_path / "float.tif"))
    assert [page.rgb[0] for page in found] == [51, 102, 153]


@given(
    images=st.lists(
        st.tuples(
            st.integers(100, 130),
            st.integers(100, 130),
            st.sampled_from([{}, {}, {"tag_254": 2}, {"tag_297": 1}, REDUCED, MASK, OLD_REDUCED]),
        ),
        min_size=1,
        max_size=8,
    ),
    order=st.sampled_from("<>"),
    is_big=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_what_says_that_it_is_beside_is_no_page(
    images: list[tuple[int, int, dict[str, int]]], order: str, is_big: bool
) -> None:
    data = tiff(
        [grey_page(width, height, 1 + n, **tags) for n, (width, height, tags) in enumerate(images)],
        order=order,
        is_big=is_big,
    )
    expected = [1 + n for n, (_, _, tags) in enumerate(images) if tags not in (REDUCED, MASK, OLD_REDUCED)]
    if len(expected) < 2:
        assert kind_of(data) is FileKind.IMAGE
    else:
        assert levels(data) == expected


@given(
    order=st.sampled_from("<>"),
    is_big=st.booleans(),
    at=st.integers(0, 4000),
    put=st.binary(min_size=1, max_size=12),
    cut=st.integers(0, 4000),
)
@settings(deadline=None, max_examples=80)
def test_no_damage_is_a_traceback(order: str, is_big: bool, at: int, put: bytes, cut: int) -> None:
    data = tiff([grey_page(20, 30, level) for level in (1, 2, 3)], order=order, is_big=is_big)
    at %= len(data)
    damaged = data[:at] + put + data[at + len(put) :]
    for part in (damaged, damaged[: cut % len(data)]):
        if kind_of(part) is FileKind.SCAN:
            file = MediaFile(FileKind.SCAN, part, "scan.tif")
            with contextlib.suppress(ImageError):
                for _, image in open_document(file, Selection()).images():
                    assert image.width


def test_who_loads_the_first_page_is_told_of_the_others(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.tif", tiff([a4(level) for level in (10, 20, 30)])
    path.write_bytes(data)
    for source in (path, data):
        with pytest.warns(ImageWarning, match="a TIFF of 3 pages, and this is the first: ggufvlm.pages") as told:
            assert load(source).rgb[0] == 10
        assert len(told) == 1
        with pytest.raises(ImageError, match="a TIFF of 3 pages, not an image"):
            load_single(source)


def test_he_is_told_once_a_file(tmp_path: Path) -> None:
    data = tiff([a4(level) for level in (10, 20)])
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(data)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for name in ("a.tif", "b.tif", "a.tif"):
            load(tmp_path / name)
    assert [Path(str(one.message).partition(":")[0]).name for one in told] == ["a.tif", "b.tif"]


def test_one_image_with_its_thumbnail_is_loaded_without_a_word() -> None:
    data = tiff([a4(10), grey_page(21, 30, 20, **REDUCED)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(data).rgb[0] == load_single(data).rgb[0] == 10
