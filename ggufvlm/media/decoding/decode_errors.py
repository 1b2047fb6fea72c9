"""What decoders raise for damaged images -> ImageError of one line."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ggufvlm.errors import ImageError

# All that Pillow's plugins are known to raise for damaged files. Warnings are in it for `python -W error`.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    Warning,
)

# What the decoders say when they run out of data, ...
_CUT_OFF = re.compile(
    r"truncat|requires? a buffer|expect(ed|ing) to read|not enough image data|no more images|end of (file|input)"
    r"|cannot read full|size too small|chunk b''|not enough data|bytes too short|read error",
    re.IGNORECASE,
)
# ... when the file is whole and they have no code for it, ...
_UNREAD = re.compile(
    r"unsupported|unimplemented|not (yet )?(implemented|supported|configured)|cannot handle|unable to determine"
    r"|unknown (pixel|pcx|tga|data organi|dxgi|blp|compression|color)",
    re.IGNORECASE,
)
# ... and when it asks for more than they give.
_LIMIT = re.compile(r"limit|exceed|too (large|big|many|high|wide)|maximum", re.IGNORECASE)

TOO_LARGE = "scale it down first"
ASK_ABOUT_PAGES = "its pages can be asked about: ggufvlm describe FILE.tif; in Python ggufvlm.pages reads them"
INCOMPLETE = "copy or download it again"
ANOTHER_FORM = "convert it to PNG or JPEG first"


class UnreadForm(ValueError):  # noqa: N818 - reads as what happened
    """A file in a format that is read, in a form that is not.

    Args:
        name: of the format.
        form: the form, in words: bits, compression, colours.
        hint: what makes it readable.
    """

    def __init__(self, name: str, form: str, hint: str = ANOTHER_FORM) -> None:
        super().__init__(f"this form of {name} is not read: {form}")
        self.hint = hint


@contextmanager
def explained(source: str, name: str) -> Iterator[None]:
    """Turn what a decoder raises into an ImageError of one line."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (*DAMAGE, MemoryError, DecompressionBombError) as error:
        raise refusal(error, source, name) from error


def refusal(error: BaseException, source: str, name: str) -> ImageError:
    """The ImageError for what a decoder raised while it read ``source`` as format ``name``.

    Args:
        error: what the decoder raised.
        source: what the user named the image by.
        name: of the format.
    """
    if isinstance(error, MemoryError):
        return ImageError(f"{source}: not enough memory for this image", hint=TOO_LARGE)
    if not isinstance(error, DAMAGE):
        return ImageError(f"{source}: too large a {name}{_first_line(error)}", hint=TOO_LARGE)
    if isinstance(error, UnreadForm):
        return ImageError(f"{source}: {error}", hint=error.hint)
    text, reason = str(error), _first_line(error)
    if isinstance(error, (EOFError, struct.error)) or _CUT_OFF.search(text):
        return ImageError(f"{source}: the file is cut off (truncated {name})", hint=INCOMPLETE)
    if is_unread(error):
        return ImageError(f"{source}: this form of {name} is not read{reason}", hint=ANOTHER_FORM)
    if _LIMIT.search(text) and not isinstance(error, OverflowError):  # a field of the file that makes no sense
        return ImageError(f"{source}: beyond a limit of what reads {name}{reason}", hint=TOO_LARGE)
    return ImageError(f"{source}: damaged {name}{reason}", hint=INCOMPLETE)


def several_pages(source: str, n_pages: int) -> ImageError:
    """The ImageError for a TIFF of several pages where one image is wanted."""
    return ImageError(f"{source}: a TIFF of {n_pages} pages, not an image", hint=ASK_ABOUT_PAGES)


def is_unread(error: BaseException) -> bool:
    """Whether a decoder says that it knows the format, and not this form of it."""
    return isinstance(error, UnreadForm) or _UNREAD.search(str(error)) is not None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f" ({text})" if text and text != "not identified by this driver" else ""
