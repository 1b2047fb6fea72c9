"""The identity of an image, and everything that load() takes."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from ggufvlm import media
from ggufvlm.errors import ImageError
from tests.support.images import BLUE, RED, encode, halves


def test_id_is_of_size_and_pixels():
    rgb = bytes(range(18))
    image = media.Image.from_rgb(3, 2, rgb, "here")
    assert image.id == hashlib.sha256(b"3x2:" + rgb).hexdigest()
    assert image.id == media.Image.from_rgb(3, 2, bytearray(rgb), "there", original_format="PNG").id
    assert image.id != media.Image.from_rgb(2, 3, rgb, "here").id


@pytest.mark.parametrize(("width", "height", "length"), [(0, 1, 0), (1, 0, 0), (-1, -1, 3), (2, 2, 11), (2, 2, 13)])
def test_from_rgb_checks_lengths(width, height, length):
    with pytest.raises(ValueError, match=r"pixel"):
        media.Image.from_rgb(width, height, bytes(length), "here")


def test_image_is_frozen_and_shows_no_pixels():
    image = media.Image.from_rgb(100, 100, bytes(30000), "here")
    assert len(repr(image)) < 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.width = 3


def test_same_image_same_id_whatever_the_way(tmp_path):
    path = tmp_path / "a.png"
    halves().save(path)
    data = path.read_bytes()
    ways = [str(path), path, path.as_uri(), data, bytearray(data), halves(), PIL.Image.open(path), np.asarray(halves())]
    images = [media.load(way) for way in ways]
    assert len({image.id for image in images}) == 1
    assert [images[0].source, images[3].source, images[5].source] == [str(path), "<bytes>", "<image>"]
    assert images[6].source == str(path)
    assert images[7].source == "<array>"


def test_an_image_is_returned_as_it_is():
    image = media.load(halves())
    assert media.load(image) is image


def test_pillow_images_stand_as_their_file_or_as_they_were_made(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    halves().save(path, exif=exif)
    assert media.load(PIL.Image.open(path)).width == media.load(path).width == 20
    assert media.load(PIL.Image.open(path).rotate(0)).width == 40


def test_heif_images_are_pillow_images():
    import io

    import pillow_heif

    encoded = io.BytesIO()
    pillow_heif.from_pillow(halves(64, 64)).save(encoded)
    assert media.load(pillow_heif.HeifImageFile(encoded)).original_format == "HEIF"


def test_views_of_arrays_are_copied_in_order():
    flipped = np.asarray(halves())[:, ::-1]
    image = media.load(flipped)
    assert (tuple(image.rgb[-3:]), tuple(image.rgb[-120:-117])) == (RED, BLUE)


@pytest.mark.parametrize("thing", [None, 3, ["a.png"]])
def test_other_things_are_no_images(thing):
    with pytest.raises(ImageError, match="cannot make an image of"):
        media.load(thing)


def test_damage_names_the_file(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(encode(halves(), "JPEG")[:400])
    with pytest.raises(ImageError) as caught:
        media.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_import_is_light():
    code = "import sys, ggufvlm.media; print([m for m in ('PIL', 'numpy', 'httpx', 'pillow_heif') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
