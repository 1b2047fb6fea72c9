"""Every format, mode and kind of damage, as real files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufvlm import media
from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import MAX_PIXELS, decode
from tests.support.images import BLUE, RED, cmyk_profile, encode, halves, png_chunk, raw_png

GREEN = (0, 255, 0)
WHITE = (255, 255, 255)


def pixel(image: media.Image, x: int, y: int) -> tuple[int, int, int]:
    start = (y * image.width + x) * 3
    red, green, blue = image.rgb[start : start + 3]
    return red, green, blue


def close(seen: tuple[int, int, int], wanted: tuple[int, int, int], tolerance: int) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(seen, wanted, strict=True))


def assert_halves(image: media.Image, tolerance: int = 0) -> None:
    """The image of ``halves()``, looked at away from the edges, where lossy formats blur."""
    assert (image.width, image.height) == (40, 20)
    for (x, y), wanted in {(6, 14): RED, (33, 14): BLUE, (20, 1): GREEN, (38, 1): GREEN}.items():
        assert close(pixel(image, x, y), wanted, tolerance), (x, y, pixel(image, x, y))


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        ("TGA", {}),
        ("JPEG2000", {}),
        ("PCX", {}),
        ("SGI", {}),
        ("QOI", {}),
        ("DDS", {}),
        ("ICO", {"sizes": [(40, 20)]}),
        ("GIF", {}),
    ],
)
def test_lossless_formats(format_name, options):
    try:
        data = encode(halves(), format_name, **options)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {format_name}")
    image = decode(data, "photo")
    assert_halves(image)
    assert image.original_format == format_name
    assert image.source == "photo"
    assert len(image.rgb) == 40 * 20 * 3


@pytest.mark.parametrize(
    ("format_name", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("AVIF", {}), ("GIF", {"interlace": 1})],
)
def test_lossy_formats(format_name, options):
    image = decode(encode(halves(), format_name, **options), "photo")
    assert_halves(image, tolerance=40)
    assert image.original_format == format_name


def heif(image: PIL.Image.Image, **options) -> bytes:
    import pillow_heif

    encoded = io.BytesIO()
    pillow_heif.from_pillow(image).save(encoded, quality=95, **options)
    return encoded.getvalue()


def test_heic():
    image = decode(heif(halves(64, 64)), "IMG_0001.HEIC")
    assert (image.width, image.height, image.original_format) == (64, 64, "HEIF")
    assert close(pixel(image, 6, 50), RED, 40)
    assert close(pixel(image, 58, 50), BLUE, 40)


def test_heic_keeps_pillow_as_it_was():
    # Other code in the process may rely on which plugins Pillow has.
    PIL.Image.init()
    before = dict(PIL.Image.OPEN)
    decode(heif(halves(64, 64)), "IMG_0001.HEIC")
    assert before == PIL.Image.OPEN


def test_heic_rotation_is_applied_once():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    upright = decode(heif(halves(128, 64), exif=exif.tobytes()), "IMG_0002.HEIC")
    plain = decode(heif(halves(128, 64)), "IMG_0003.HEIC")
    assert (plain.width, plain.height) == (128, 64)
    assert (upright.width, upright.height) == (64, 128)
    assert close(pixel(upright, 10, 10), RED, 40)
    assert close(pixel(upright, 10, 118), BLUE, 40)


# Where the corners of the upright image come from, by EXIF orientation: what a camera held that way would store.
ORIENTATIONS = {
    1: None,
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_90,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", sorted(ORIENTATIONS))
def test_exif_orientation(orientation, format_name):
    turn = ORIENTATIONS[orientation]
    stored = halves() if turn is None else halves().transpose(turn)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "lossless": True} if format_name == "WEBP" else {"exif": exif}
    image = decode(encode(stored, format_name, **options), "phone")
    assert_halves(image, tolerance=40)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own, which a command line silences for itself
def test_damaged_exif_is_ignored(exif):
    jpeg = encode(halves(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert_halves(decode(jpeg[:2] + segment + jpeg[2:], "odd.jpg"), tolerance=40)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    assert_halves(decode(encode(halves(), "PNG", exif=exif), "odd.png"))


def half_transparent(mode: str) -> PIL.Image.Image:
    """Left half opaque black, right half fully transparent (of a colour that must not show)."""
    image = PIL.Image.new("RGBA", (40, 20), (0, 0, 0, 255))
    image.paste((9, 9, 9, 0), (20, 0, 40, 20))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "format_name"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("RGBA", "GIF")]
)
def test_transparency_is_white(mode, format_name):
    options = {"lossless": True} if format_name == "WEBP" else {}
    image = decode(encode(half_transparent(mode), format_name, **options), "logo")
    assert pixel(image, 5, 10) == (0, 0, 0)
    assert pixel(image, 35, 10) == WHITE


def test_half_transparency_is_mixed():
    image = decode(encode(PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 128)), "PNG"), "logo.png")
    assert close(pixel(image, 0, 0), (255, 127, 127), 1)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_transparent_palette_entry_is_white(transparency):
    image = PIL.Image.new("P", (40, 20), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (20, 0, 40, 20))
    image = decode(encode(image, "PNG", transparency=transparency), "logo.png")
    assert (pixel(image, 5, 10), pixel(image, 35, 10)) == (RED, WHITE)


@pytest.mark.parametrize(
    ("mode", "key", "visible", "ground"),
    [
        ("L", 7, 100, WHITE),
        ("RGB", (7, 7, 7), RED, WHITE),
        ("1", 255, 0, WHITE),
        ("L", 7, 255, (64, 64, 64)),  # white on transparent: on white nothing would be seen
        ("1", 0, 255, (64, 64, 64)),
    ],
)
def test_transparent_colour_is_the_ground(mode, key, visible, ground):
    image = PIL.Image.new(mode, (4, 4), key)
    image.putpixel((0, 0), visible)
    image = decode(encode(image, "PNG", transparency=key), "logo.png")
    assert pixel(image, 3, 3) == ground
    assert pixel(image, 0, 0) == (visible if isinstance(visible, tuple) else (visible,) * 3)


def test_transparent_colour_of_16_bit_rgb_does_not_stop_it():
    row = b"\0" + struct.pack(">3H", 65535, 0, 0) * 2
    extra = png_chunk(b"tRNS", struct.pack(">3H", 4000, 4000, 4000))
    image = decode(raw_png(2, 1, depth=16, color=2, rows=row, extra=extra), "deep.png")
    assert pixel(image, 1, 0) == RED


def test_transparent_value_of_16_bit_grey_does_not_stop_it():
    row = b"\0" + struct.pack(">2H", 65535, 0)
    extra = png_chunk(b"tRNS", struct.pack(">H", 4000))
    image = decode(raw_png(2, 1, depth=16, color=0, rows=row, extra=extra), "deep.png")
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == (WHITE, (0, 0, 0))


def test_plain_modes():
    for mode in ("1", "L", "P"):
        image = decode(encode(PIL.Image.new("RGB", (3, 3), WHITE).convert(mode), "PNG"), mode)
        assert pixel(image, 1, 1) == WHITE
    grey = decode(encode(PIL.Image.new("L", (3, 3), 77), "PNG"), "grey.png")
    assert pixel(grey, 1, 1) == (77, 77, 77)


@pytest.mark.parametrize("mode", ["La", "RGBa", "HSV", "YCbCr", "CMYK", "RGBX"])
def test_modes_that_only_pillow_holds(mode):
    start = half_transparent("RGBA") if mode in ("La", "RGBa") else halves()
    via = {"La": "LA"}.get(mode)
    image = (start.convert(via) if via else start).convert(mode)
    image = media.load(image)
    if mode in ("La", "RGBa"):
        assert (pixel(image, 5, 10), pixel(image, 35, 10)) == ((0, 0, 0), WHITE)
    else:
        assert_halves(image, tolerance=3)


@pytest.mark.parametrize(("value", "wanted"), [(0, 0), (257, 1), (32768, 128), (65535, 255), (65280, 254)])
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(value, wanted, format_name):
    image = PIL.Image.fromarray(np.full((2, 3), value, dtype=np.uint16))
    assert pixel(decode(encode(image, format_name), "scan"), 1, 1) == (wanted,) * 3


def test_big_endian_16_bit_grey():
    image = PIL.Image.frombytes("I;16B", (1, 1), b"\xff\xff")
    assert pixel(media.load(image), 0, 0) == WHITE


def test_16_bit_rgb():
    row = b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 0, 32768)
    image = decode(raw_png(2, 1, depth=16, color=2, rows=row), "deep.png")
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == (RED, (0, 0, 128))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 32768.0, 65535.0], [0, 128, 255]),
        ([-10.0, 0.0, 10.0], [0, 128, 255]),
        ([0.0, 5e6, 1e7], [0, 128, 255]),
        ([-3.0, -3.0, -3.0], [0, 0, 0]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
        ([0.0, 0.5, float("inf")], [0, 128, 255]),
    ],
)
def test_float_images_take_the_smallest_customary_range(values, wanted):
    image = PIL.Image.fromarray(np.array([values], dtype=np.float32))
    image = decode(encode(image, "TIFF"), "depth.tif")
    assert all(close(pixel(image, x, 0), (w, w, w), 1) for x, w in enumerate(wanted)), image.rgb.hex()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([0, 100, 255], [0, 100, 255]), ([0, 32768, 65535], [0, 128, 255]), ([-100, 0, 100], [0, 128, 255])],
)
def test_whole_number_images_take_the_smallest_customary_range(values, wanted):
    image = PIL.Image.fromarray(np.array([values], dtype=np.int32))
    image = decode(encode(image, "TIFF"), "counts.tif")
    assert [pixel(image, x, 0) for x in range(3)] == [(w, w, w) for w in wanted]


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_without_profile(format_name):
    # Pillow writes CMYK JPEGs inverted with Adobe's marker, as Photoshop does.
    image = decode(encode(halves().convert("CMYK"), format_name), "print")
    assert_halves(image, tolerance=40)


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(format_name):
    image = decode(encode(halves().convert("CMYK"), format_name, icc_profile=cmyk_profile()), "print")
    assert close(pixel(image, 5, 10), (0, 157, 215), 3), pixel(image, 5, 10)
    assert pixel(image, 5, 10) == pixel(image, 35, 10)


def test_cmyk_with_a_useless_profile():
    rgb_profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"garbage", rgb_profile, cmyk_profile()[:200]):
        image = decode(encode(halves().convert("CMYK"), "TIFF", icc_profile=profile), "print.tif")
        assert_halves(image)


def test_lab():
    lab, srgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
    image = PIL.ImageCms.profileToProfile(halves(), srgb, lab, outputMode="LAB")
    assert_halves(decode(encode(image, "TIFF"), "lab.tif"), tolerance=25)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animations_give_their_first_frame(format_name):
    others = [PIL.Image.new("RGB", (40, 20), color) for color in (WHITE, (0, 0, 0))]
    options = {"lossless": True} if format_name == "WEBP" else {}
    data = encode(halves(), format_name, save_all=True, append_images=others, **options)
    assert_halves(decode(data, "moving"), tolerance=40)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.95])
def test_cut_off(format_name, keep):
    noise = PIL.Image.effect_noise((80, 80), 80).convert("RGB")
    data = heif(noise) if format_name == "HEIF" else encode(noise, format_name)
    with pytest.raises(ImageError, match=r"^photo: ") as caught:
        decode(data[: int(len(data) * keep)], "photo")
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    if format_name not in ("AVIF", "HEIF"):  # their headers need not say that something is missing
        assert "the file is cut off" in str(caught.value)


def test_cut_off_names_the_format():
    data = encode(PIL.Image.effect_noise((80, 80), 80), "JPEG")
    with pytest.raises(ImageError) as caught:
        decode(data[: len(data) // 2], "photo.jpg")
    assert str(caught.value) == "photo.jpg: the file is cut off (truncated JPEG)"


def test_damaged_in_the_middle():
    data = bytearray(encode(PIL.Image.effect_noise((80, 80), 80), "PNG"))
    data[200:260] = bytes(60)
    with pytest.raises(ImageError, match=r"^photo.png: (damaged PNG|the file is cut off)"):
        decode(bytes(data), "photo.png")


def test_empty():
    with pytest.raises(ImageError, match=r"^empty.png: the file is empty$"):
        decode(b"", "empty.png")


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_zero_size(width, height):
    with pytest.raises(ImageError, match=r"^none.png: "):
        decode(raw_png(width, height), "none.png")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Buy milk.\n", "not an image in a format that can be read"),
        (b"Python is a language", "not an image in a format that can be read"),
        (b"BMW is a car, and this is a note about it", "not an image in a format that can be read"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n <html lang='en'>", "web page"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a > b --><svg >", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", "video"),
        (b"\x1a\x45\xdf\xa3\x01\0", "video"),
        (b"GRIB\0\0\0\x01", "not an image"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), "not an image"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
    ],
)
def test_no_image(data, says):
    with pytest.raises(ImageError) as caught:
        decode(data, "thing.jpg")
    assert str(caught.value).startswith("thing.jpg: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_postscript_starts_no_program(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("started a program")

    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(ImageError):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "a.eps")


def test_bomb_is_refused_by_its_header():
    with pytest.raises(ImageError) as caught:
        decode(raw_png(60000, 60000), "bomb.png")
    assert str(caught.value) == f"bomb.png: 60000x60000 is 3600000000 pixels, more than the limit of {MAX_PIXELS}"


def test_bomb_that_pillow_refuses_itself():
    data = bytearray(encode(halves(), "WEBP", lossless=True))
    data[21:25] = (0x3FFF | 0x3FFF << 14).to_bytes(4, "little")  # 16384x16384 in a VP8L header
    with pytest.raises(ImageError, match=r"^bomb.webp: (too large a WEBP|.* more than the limit)"):
        decode(bytes(data), "bomb.webp")


def test_limit_is_the_callers():
    data = encode(halves(), "PNG")
    assert decode(data, "a.png", max_pixels=800).width == 40
    with pytest.raises(ImageError, match="more than the limit of 799"):
        decode(data, "a.png", max_pixels=799)
    with pytest.raises(ImageError, match="more than the limit of 799"):
        media.load(data, max_pixels=799)


def test_compressed_text_bomb():
    """It is left out, and never unpacked as a whole."""
    import tracemalloc
    import zlib

    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))
    data = raw_png(1, 1, rows=b"\0\1\1\1", extra=text)
    tracemalloc.start()
    assert decode(data, "bomb.png").rgb == b"\1\1\1"
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "GIF", "JPEG", "AVIF"])
def test_large_images_give_no_warning(format_name, monkeypatch):
    # As if the 800 pixels were between Pillow's limits for its warning and for its error.
    data = encode(halves(), format_name)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert decode(data, "large").width == 40
    assert seen == []


def test_pillows_limit_is_left_alone():
    before = PIL.Image.MAX_IMAGE_PIXELS
    decode(encode(halves(), "PNG"), "a.png")
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_warning_filters_survive_threads(monkeypatch):
    data = encode(halves(), "TIFF")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(data, "a.tif") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_out_of_memory_is_an_image_error(monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ImageError, match="not enough memory"):
        decode(encode(halves(), "PNG"), "a.png")


SIGNATURES = (
    *(b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF\0", b"GIF89a", b"RIFF\x24\0\0\0WEBPVP8 ", b"BM"),
    *(b"II*\0", b"MM\0*", b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypmif1", b"\0\0\x01\0"),
    *(b"8BPS\0\x01", b"P6\n", b"\0\0\0\x0cjP  \r\n\x87\n", b"qoif", b"icns", b"DDS ", b"\x01\xda", b"\n\x05\x01\x08"),
)


def assert_only_image_errors(data: bytes) -> None:
    try:
        image = decode(data, "random", max_pixels=1_000_000)
    except ImageError as error:
        message = str(error)
    else:
        message = "random: fine"
        assert len(image.rgb) == image.width * image.height * 3
    assert message.startswith("random: ")
    assert "\n" not in message


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_image_errors(signature, data):
    assert_only_image_errors(signature + data)


REAL = {
    name: encode(PIL.Image.effect_noise((24, 24), 80).convert("RGB"), name)
    for name in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "TGA", "PPM", "ICO", "PCX", "AVIF")
}


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(REAL)), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8))
def test_flipped_bytes_raise_nothing_but_image_errors(name, changes):
    data = bytearray(REAL[name])
    for place, value in changes:
        # Headers are where the decoders make their decisions.
        data[place % min(len(data), 300)] = value
    assert_only_image_errors(bytes(data))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["GIF", "PNG"])
def test_a_file_that_cannot_hold_its_pixels_takes_no_memory(format):
    """62 bytes of GIF took 1.5 GB. What compression can reach is left alone."""
    blank = PIL.Image.new("1", (13_000, 12_000))
    data = encode(blank, format)
    assert decode(data, "a").width == 13_000
    cut = data[:900]
    with pytest.raises(ImageError, match="cut off"):
        decode(cut, "a")


def test_a_small_frame_on_a_large_screen_is_shown():
    data = b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0x80, 0, 0) + b"\xff\0\0\0\0\xff"
    data += b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;"
    assert decode(data, "a").width == 3000


def photo() -> PIL.Image.Image:
    return PIL.Image.effect_noise((160, 120), 60).convert("RGB")


def test_a_jpeg_that_lacks_its_end_marker_alone_is_shown():
    data = encode(photo(), "JPEG", quality=90)
    assert data.endswith(b"\xff\xd9")
    assert decode(data[:-2], "a").id == decode(data, "a").id
    with_thumbnail = data[:2] + b"\xff\xe1\0\x08ab\xff\xd9\0\0"[:10] + data[2:]
    assert decode(with_thumbnail[:-2], "a").id == decode(data, "a").id, (
        "the end of a thumbnail is not that of the image"
    )


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_off_is_still_told(share, progressive):
    data = encode(photo(), "JPEG", quality=90, progressive=progressive)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: int(len(data) * share)], "a")


def logo(color, ground=(0, 0, 0, 0)):
    image = PIL.Image.new("RGBA", (40, 20), ground)
    image.paste((*color, 255), (10, 5, 30, 15))
    return image


def test_a_white_logo_is_put_on_dark_and_any_other_on_white():
    seen = decode(encode(logo((255, 255, 255)), "PNG"), "a")
    assert (seen.is_on_dark, seen.rgb[:3]) == (True, bytes([64] * 3))
    assert tuple(seen.rgb[3 * (40 * 10 + 20) :][:3]) == (255, 255, 255)
    assert decode(encode(logo((250, 248, 252)), "WEBP", lossless=True), "a").is_on_dark
    for other in (logo((200, 30, 30)), logo((230, 230, 230)), logo((255, 255, 255), (255, 255, 255, 255))):
        seen = decode(encode(other, "PNG"), "a")
        assert (seen.is_on_dark, seen.rgb[:3]) == (False, b"\xff\xff\xff")
    assert not decode(encode(PIL.Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG"), "a").is_on_dark, "nothing is visible"
    assert not decode(encode(halves(), "PNG"), "a").is_on_dark


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_an_image_of_200_megapixels_takes_two_gigabytes(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (16384, 12288), BLUE).save(tmp_path / "phone.jpg", exif=exif)
    program = (
        "from ggufvlm import media; image = media.load('phone.jpg');"
        # not getrusage, whose peak begins with that of the process which started this one
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'));"
        "print(image.width, image.height, image.rgb[-1], peak)"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    width, height, blue, peak = map(int, told.stdout.split())
    assert (width, height) == (12288, 16384)
    assert blue > 250
    assert peak < 1_800_000


def test_an_image_that_is_read_in_strips_is_the_same():
    pixels = np.random.default_rng(3).integers(0, 256, (4001, 4003, 3), dtype=np.uint8)
    assert media.load(PIL.Image.fromarray(pixels)).rgb == pixels.tobytes()


def test_an_image_that_no_memory_is_left_for_is_refused(monkeypatch):
    monkeypatch.setattr("ggufvlm.media.decoding.decode.available_memory", lambda: 100_000_000)
    data = encode(PIL.Image.new("L", (5000, 5000)), "PNG")
    with pytest.raises(ImageError, match=r"big.png: 5000x5000 pixels take 0.2 GB .* 0.1 GB .* free"):
        decode(data, "big.png")
