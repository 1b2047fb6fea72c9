"""What an image file says about itself, read without decoding its pixels."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import MAX_PIXELS, pass_thumbnails
from ggufvlm.media.decoding.decode_errors import DAMAGE, explained
from ggufvlm.media.decoding.plugins import SEEN_PART, open_image
from ggufvlm.media.decoding.square_pixels import square_size
from ggufvlm.media.sources.read import read_source

_PREFIX = 256 * 1024  # bytes: holds the header of nearly every file, EXIF thumbnail included
_ORIENTATION = 0x0112


def header_size(source: str | os.PathLike[str] | bytes) -> tuple[int, int]:
    """Width and height in pixels, upright, as the header tells them; damage behind it stays unseen.

    Args:
        source: what :func:`~ggufvlm.media.load` takes as a path, URL or bytes.

    Raises:
        ImageError: missing, unreadable, not an image.
    """
    if isinstance(source, bytes):
        return _size(source, "<bytes>")
    if isinstance(source, os.PathLike):
        start = _prefix(Path(source))
        if start is not None:
            try:
                return _size(start, os.fspath(source))
            except ImageError:
                pass  # some formats keep their header at the end
    return _size(*read_source(source))


def decoded_size(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that an image file has once it is decoded, though perhaps not yet turned or cropped.

    To look at more of some formats, Pillow decodes the image.

    Args:
        data: the whole file.
        name: for messages.
        max_pixels: largest width times height that will be decoded.

    Raises:
        ImageError: not an image, or damaged at its start.
    """
    with open_image(data, name) as image, explained(name, image.format or "image"):
        pass_thumbnails(image, name)
        return square_size(image, max_pixels)


def decoded_bytes(data: bytes, name: str) -> int:
    """How much memory an image file takes once it is decoded; 0 if it is damaged, which decoding will tell."""
    try:
        width, height = decoded_size(data, name)
    except ImageError:
        return 0
    return 3 * width * height


def exif_fields(data: bytes) -> dict[str, str]:
    """The EXIF entries of an image file by their names, as text; damaged ones count as none."""
    from PIL.ExifTags import GPSTAGS, IFD, TAGS

    try:
        with open_image(data, "<bytes>") as image:
            exif = image.getexif()
            found = {TAGS[tag]: _text(value) for tag, value in exif.items() if tag in TAGS}
            for block, names in ((IFD.Exif, TAGS), (IFD.GPSInfo, GPSTAGS)):
                entries = exif.get_ifd(block)
                found |= {names[tag]: _text(value) for tag, value in entries.items() if tag in names}
    except (*DAMAGE, ImageError):
        return {}
    return {name: text for name, text in found.items() if text}


def is_exif_name(name: str) -> bool:
    """Whether EXIF knows an entry of this name."""
    from PIL.ExifTags import GPSTAGS, TAGS

    return name in TAGS.values() or name in GPSTAGS.values()


def _prefix(path: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(_PREFIX)
    except (OSError, ValueError):
        return None


def _size(data: bytes, name: str) -> tuple[int, int]:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    with open_image(data, name) as image, explained(name, image.format or "image"):
        pass_thumbnails(image, name)
        if image.format == "TIFF":  # which Pillow has upright
            return square_size(image, MAX_PIXELS)
        left, upper, right, lower = image.info.get(SEEN_PART) or (0, 0, *image.size)
        width, height = right - left, lower - upper
        if width * height > MAX_PIXELS:
            return width, height  # reading the EXIF of a PNG decodes all of it
        try:
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        except DAMAGE:
            turned = False
    return (height, width) if turned else (width, height)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "".join(character for character in str(value) if character.isprintable()).strip()
