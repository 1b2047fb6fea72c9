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

# What the decoders say when they run out of data.
_CUT_OFF = re.compile(
    r"truncat|requires? a buffer|expect(ed|ing) to read|not enough image data|no more images|end of (file|input)"
    r"|cannot read full|size too small|chunk b''",
    re.IGNORECASE,
)

TOO_LARGE = "scale it down first"
INCOMPLETE = "copy or download it again"


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
    if isinstance(error, (EOFError, struct.error)) or _CUT_OFF.search(str(error)):
        return ImageError(f"{source}: the file is cut off (truncated {name})", hint=INCOMPLETE)
    return ImageError(
        f"{source}: damaged {name}, or a kind of it that cannot be read{_first_line(error)}", hint=INCOMPLETE
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f" ({text})" if text and text != "not identified by this driver" else ""
