"""A description into an image file, without touching its pixels or anything else that the file says about itself."""

from __future__ import annotations

import enum
from collections.abc import Collection

from ggufvlm.errors import ImageError
from ggufvlm.media.metadata.afcp import AfcpTrailer
from ggufvlm.media.metadata.block import Damaged, Said
from ggufvlm.media.metadata.jpeg import JpegFile
from ggufvlm.media.metadata.png import PngFile
from ggufvlm.media.metadata.tiff import TiffFile
from ggufvlm.media.metadata.webp import WebpFile

Container = JpegFile | PngFile | TiffFile | WebpFile
SIDECAR_HINT = "--sidecar xmp writes the description beside the image"


class Field(str, enum.Enum):
    """Where a description stands in a file.

    ``XMP``: ``dc:description``, language ``x-default``. ``EXIF``: ``ImageDescription``, in UTF-8. ``IPTC``:
    Caption-Abstract (2:120), in UTF-8, at most 2000 bytes. The Metadata Working Group's guidelines (2.0) name these
    three for what an image shows.
    """

    XMP = "xmp"
    EXIF = "exif"
    IPTC = "iptc"


def describe_file(data: bytes, text: Said, fields: Collection[Field], name: str) -> bytes:
    """A copy of an image file with a description in it. What the file holds otherwise stays, byte for byte.

    Args:
        data: a JPEG, PNG, WebP or TIFF file.
        text: the description, which replaces an old one; or keywords, which are added to those that are there.
        fields: which to fill. IPTC is for JPEG and TIFF only, keywords are for XMP and IPTC.
        name: of the file, for messages.

    Raises:
        ImageError: another format, a field that the format does not have, damaged metadata, no room.
    """
    trailer = AfcpTrailer(data)
    container = _open(trailer.before(data), name)
    try:
        for field in sorted(fields):
            container.describe(field.value, text)
        after = container.to_bytes()
        return after + trailer.at(len(after))
    except Damaged as error:
        raise ImageError(f"{name}: {error}", hint=SIDECAR_HINT) from error


def description_of(data: bytes, field: Field, name: str) -> str | None:
    """The description in one field of a file, ``None`` if there is none.

    Args:
        data: a JPEG, PNG, WebP or TIFF file.
        field: where to look.
        name: of the file, for messages.

    Raises:
        ImageError: as :func:`describe_file`.
    """
    try:
        return _open(data, name).description(field.value)
    except Damaged as error:
        raise ImageError(f"{name}: {error}", hint=SIDECAR_HINT) from error


def keywords_of(data: bytes, field: Field, name: str) -> tuple[str, ...]:
    """The keywords in one field of a file: ``dc:subject``, or IPTC's 2:25.

    Args:
        data: a JPEG, PNG, WebP or TIFF file.
        field: where to look.
        name: of the file, for messages.

    Raises:
        ImageError: as :func:`describe_file`.
    """
    try:
        return _open(data, name).keywords(field.value)
    except Damaged as error:
        raise ImageError(f"{name}: {error}", hint=SIDECAR_HINT) from error


def fields_that_fit(data: bytes, fields: Collection[Field], name: str) -> tuple[Field, ...]:
    """The fields that a file's format has.

    Raises:
        ImageError: it has none of them.
    """
    container = _open(data, name)
    found = tuple(field for field in fields if field.value in container.FIELDS)
    if not found:
        wanted = ", ".join(field.value.upper() for field in fields)
        raise ImageError(f"{name}: its format has no place for {wanted}", hint=SIDECAR_HINT)
    return found


def is_same_image(data: bytes, other: bytes) -> bool:
    """Whether two files of one format differ in nothing but their metadata; no pixel is decoded."""
    try:
        trailers = AfcpTrailer(data), AfcpTrailer(other)
        first, second = _open(trailers[0].before(data), ""), _open(trailers[1].before(other), "")
        is_same = type(first) is type(second) and first.image() == second.image()
        return is_same and trailers[0].at(0) == trailers[1].at(0)
    except (ImageError, Damaged):
        return False


def _open(data: bytes, name: str) -> Container:
    for kind in (JpegFile, PngFile, WebpFile, TiffFile):
        if kind.is_one(data):
            try:
                return kind(data)
            except Damaged as error:
                raise ImageError(f"{name}: {error}", hint=SIDECAR_HINT) from error
    raise ImageError(f"{name}: a description goes into JPEG, PNG, WebP and TIFF files", hint=SIDECAR_HINT)
