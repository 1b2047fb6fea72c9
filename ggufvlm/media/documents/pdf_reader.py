"""What PDFium makes of a PDF. The only importer of pypdfium2."""

from __future__ import annotations

import math
import threading
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ImageError, MissingExtra, UsageError
from ggufvlm.media.decoding.kinds import MediaFile
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_DPI = 150.0
MAX_PAGE_PIXELS = 16_000_000
"""Largest image that is made of a page; larger ones are rendered at a lower resolution."""

_POINTS_PER_INCH = 72
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD
_UNKNOWN_SECURITY = 5  # FPDF_ERR_SECURITY
_NO_TEXT = ("Cc", "Co", "Cn", "Cs")  # controls, private use, not assigned, surrogates
_MOST_LOST = 0.3
_WHITE = b"\xff"
_JBIG2 = "JBIG2Decode"  # where it is damaged PDFium gives white, and says nothing
_XFA = 2  # FORMTYPE_XFA_FULL
_COPY_AGAIN = "copy or download it again"

# PDFium is not safe to use from several threads at a time, not even for different documents.
_pdfium = threading.RLock()


class PdfReader:
    """An open PDF. From any thread; close it, or use ``with``.

    Raises:
        ImageError: no PDF, encrypted, damaged or without pages. The message names the file.
        MissingExtra: pypdfium2 is not installed.
    """

    def __init__(self, file: MediaFile) -> None:
        pdfium = _import(file.name)
        self.name = file.name
        self._error: type[Exception] = pdfium.PdfiumError
        with _pdfium:
            try:
                self._document = pdfium.PdfDocument(_input(file.place))
                self.n_pages = len(self._document)
                self._is_xfa = self._document.get_formtype() == _XFA
                if self.n_pages:
                    self._document.init_forms()  # what was typed into its fields is part of a page
            except pdfium.PdfiumError as error:
                raise _refusal(file.name, getattr(error, "err_code", None)) from error
            except OSError as error:
                raise ImageError(f"{file.name}: cannot be read ({error.strerror or error})") from error
        if not self.n_pages:
            self.close()
            raise ImageError(f"{file.name}: the PDF has no pages")

    def page(self, number: int, dpi: float = DEFAULT_DPI) -> Image:
        """Render one page.

        Args:
            number: from 1.
            dpi: dots per inch, at most.

        Raises:
            ImageError: the page is damaged.
        """
        if not 0 < dpi < math.inf:
            raise UsageError(f"the resolution must be positive, not {dpi}")
        source = f"{self.name} page {number}"
        try:
            with _pdfium, closing(self._document[number - 1]) as page:
                scale = _scale(page.get_size(), dpi, source)
                with closing(page.render(scale=scale, rev_byteorder=True)) as bitmap:
                    rgb = bitmap.to_numpy()[:, :, :3].tobytes()
                    doubt = self._doubt(page, rgb)
                    return Image.from_rgb(bitmap.width, bitmap.height, rgb, source, original_format="PDF", doubt=doubt)
        except (self._error, ValueError) as error:
            raise ImageError(f"{source}: the page is damaged", hint=_COPY_AGAIN) from error
        except MemoryError as error:
            raise ImageError(f"{source}: not enough memory for this page") from error

    def _doubt(self, page: Any, rgb: bytes) -> str | None:
        """Why the image of a page may not be what other programs show."""
        if self._is_xfa:
            return "an XFA form, which PDFium does not draw: what is seen stands in for it"
        if rgb.count(_WHITE) < len(rgb):
            return None
        import pypdfium2.raw as pdfium

        is_blank = pdfium.FPDFPage_GetAnnotCount(page.raw) <= 0 and all(map(_is_white, page.get_objects(max_depth=1)))
        return None if is_blank else "there is something on the page, and PDFium draws all of it white"

    def text(self, number: int) -> str | None:
        """The text that a page carries besides its image, line by line; ``None`` if there is none that can be read.

        Args:
            number: from 1.

        Raises:
            ImageError: the page is damaged.
        """
        try:
            with _pdfium, closing(self._document[number - 1]) as page, closing(page.get_textpage()) as layer:
                text = layer.get_text_range()
        except (self._error, ValueError) as error:
            raise ImageError(f"{self.name} page {number}: the page is damaged", hint=_COPY_AGAIN) from error
        return readable_text(text)

    def close(self) -> None:
        """Free it. Safe to call twice."""
        with _pdfium:
            self._document.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_white(thing: Any) -> bool:
    """Whether something on a page is an image of nothing but white, as that of an empty sheet in a scanner is."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    try:
        if not isinstance(thing, pypdfium2.PdfImage) or _JBIG2 in thing.get_filters():
            return False
        facts, bitmap = thing.get_metadata(), thing.get_bitmap()
    except pypdfium2.PdfiumError:  # it cannot be decoded
        return False
    pixels = bitmap.to_numpy()
    is_stencil = facts.bits_per_pixel == 1 and facts.colorspace == pdfium.FPDF_COLORSPACE_UNKNOWN
    return bool(pixels.max() == 0 if is_stencil else pixels.min() == _WHITE[0])


def readable_text(layer: str) -> str | None:
    """A page's text as PDFium gives it, without what is no text.

    A font that does not tell its letters gives control characters, places for private use or replacement characters.

    Returns:
        ``None`` if nothing is left, or if so much was none that the rest says nothing.
    """
    # PDFium writes U+FFFE or U+0002 for the hyphen of a divided word
    lines = layer.replace("\ufffe", "-").replace("\x02", "-").replace("\0", "").splitlines()
    text = "\n".join(line.rstrip() for line in lines)
    kept = "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in _NO_TEXT)
    n_lost = len(text) - len(kept) + kept.count("\N{REPLACEMENT CHARACTER}")
    n_said = sum(not letter.isspace() for letter in kept)
    return None if n_lost > _MOST_LOST * (n_lost + n_said) else kept.strip() or None


def _import(name: str) -> Any:
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtra(f"reading the PDF {name}", "pdf") from error
    return pypdfium2


def _input(place: Path | bytes) -> Path | bytes:
    if isinstance(place, Path):
        try:
            str(place).encode()
        except UnicodeEncodeError:  # PDFium takes names in UTF-8 only
            return place.read_bytes()
    return place


def _scale(size: tuple[float, float], dpi: float, source: str) -> float:
    width, height = size
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ImageError(f"{source}: the page is {width:g}x{height:g} points: there is nothing in it")
    scale = dpi / _POINTS_PER_INCH
    largest = math.sqrt(MAX_PAGE_PIXELS / (width * height))
    # A strip of a page keeps one pixel of its shorter side, however long it is.
    return min(scale, largest, MAX_PAGE_PIXELS / max(width, height))


def _refusal(name: str, code: int | None) -> ImageError:
    if code == _WRONG_PASSWORD:
        return ImageError(f"{name}: the PDF asks for a password", hint="save a copy without one: qpdf --decrypt")
    if code == _UNKNOWN_SECURITY:
        return ImageError(f"{name}: the PDF is encrypted in a way that cannot be read")
    return ImageError(f"{name}: damaged PDF, or not a PDF", hint=_COPY_AGAIN)
