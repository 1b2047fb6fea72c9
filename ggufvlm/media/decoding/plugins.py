"""Encoded bytes -> an open Pillow image, through Pillow's plugins and pillow_heif's."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.bmp import uncommon_bmp, with_fewer_colors
from ggufvlm.media.decoding.clean_aperture import clean_aperture
from ggufvlm.media.decoding.decode_errors import DAMAGE, is_unread, refusal
from ggufvlm.media.decoding.icons import plain_icon
from ggufvlm.media.decoding.jpeg_forms import check_jpeg
from ggufvlm.media.decoding.pcx import uncommon_pcx
from ggufvlm.media.decoding.png_chunks import without_trouble
from ggufvlm.media.decoding.psd import uncommon_psd
from ggufvlm.media.decoding.tga import open_tga
from ggufvlm.media.decoding.tiff_forms import lacks_codec, uncommon_tiff

if TYPE_CHECKING:
    import PIL.Image

SEEN_PART = "ggufvlm seen part"
"""In the ``info`` of an image that was opened: the edges of what is to be cropped before it is turned, or ``None``."""

# A file that carries one of these signatures and cannot be opened is damaged; with the others it may be something else.
_SIGNED = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "JPEG2000", "PSD", "QOI", "ICNS", "DDS")
# The last six have no signature at all and would take a file of any other format.
# Left out: EPS starts Ghostscript, WMF needs Windows; BUFR, GRIB, HDF5 and MPEG are names without a decoder.
_WEAKLY_SIGNED = (
    "BMP PPM ICO CUR DIB DCX FITS FLI FTEX BLP GBR MSP PCX PIXAR SGI SUN XBM XPM XVTHUMB MCIDAS "
    "TGA IM IMT PCD SPIDER IPTC"
)

_OURS: dict[str, Callable[[bytes], PIL.Image.Image | None]] = {
    "BMP": uncommon_bmp,
    "PCX": uncommon_pcx,
    "PSD": uncommon_psd,
    "TIFF": uncommon_tiff,
}
_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1 avif avis".split())


def open_image(data: bytes, source: str) -> PIL.Image.Image:
    """Open an image file, without decoding its pixels yet.

    Raises:
        ImageError: cut off or damaged at its start, or not an image that can be read.
    """
    # PIL.Image.open() would warn about large images, on stderr and once a process; here the limit is an error of
    # its own, in decode.py, so the same plugins are asked one by one.
    from PIL.Image import DecompressionBombError

    data, unread = with_fewer_colors(without_trouble(data)), None
    for name in (*_SIGNED, *_WEAKLY_SIGNED.split()):
        try:
            image = _open_as(name, data)
        except DAMAGE as error:
            # An AVIF signature may also be HEIF's, which comes next.
            if name in _SIGNED and not (name == "AVIF" and data[8:12] in (b"mif1", b"msf1")):
                # WebP's decoder gives no reason, but the file says how long it should be.
                short = name == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
                raise refusal(EOFError() if short else error, source, name) from error
            if unread is None and is_unread(error):
                unread = refusal(error, source, name)
            continue
        except (MemoryError, DecompressionBombError) as error:
            raise refusal(error, source, name) from error
        if image is not None:
            if name == "AVIF":
                image.info[SEEN_PART] = clean_aperture(data, image.width, image.height)
            return image
    hint = f"a prompt in a file goes through -p @{source}" if source.lower().endswith((".txt", ".md")) else None
    raise unread or ImageError(f"{source}: not an image in a format that can be read", hint=hint)


def _open_as(name: str, data: bytes) -> PIL.Image.Image | None:
    """Open with Pillow's plugin, and what that refuses with ours; None if the file is not of the format."""
    if name == "TGA":
        return open_tga(data)
    if name == "JPEG":
        check_jpeg(data)
    try:
        image = _open_with_pillow(name, data)
    except DAMAGE:
        ours = _OURS.get(name)
        image = None if ours is None else ours(data)
        if image is None:
            raise
        return image
    return uncommon_tiff(data) if image is not None and name == "TIFF" and lacks_codec(image) else image


def _open_with_pillow(name: str, data: bytes) -> PIL.Image.Image | None:
    import PIL.Image

    if name == "HEIF":
        return _open_heif(data)
    PIL.Image.preinit()
    if name not in PIL.Image.OPEN:
        PIL.Image.init()
    if name not in PIL.Image.OPEN:
        return None
    factory, accept = PIL.Image.OPEN[name]
    # A string is the reason why this Pillow was built without the format.
    accepted = accept(data[:16]) if accept is not None else True
    if isinstance(accepted, str) or not accepted:
        return None
    if name in ("ICO", "CUR"):
        image = PIL.Image.OPEN["ICO"][0](io.BytesIO(plain_icon(data)), "")
        image.format = name
        return image
    return factory(io.BytesIO(data), "")


def _open_heif(data: bytes) -> PIL.Image.Image | None:
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS:
        return None
    import pillow_heif

    image: PIL.Image.Image = pillow_heif.HeifImageFile(io.BytesIO(data))
    return image
