"""What libtiff says on stderr, which no function of Pillow's gives.

Of all decoders that are used here it alone writes there, and libjpeg within it: five changed copies each of 1,300 test
files of others showed it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ggufvlm.errors import ImageWarning
from ggufvlm.workers.native_stderr import heard

_NAME = "tempfile.tif: "  # what Pillow calls each file
_LONGEST = 200
WORDS = re.compile(r"(?:tempfile\.tif|\w{3,60})?: .")
"""How TIFFErrorExt and TIFFWarningExt begin a line: "module: message"; what Pillow writes has no name."""


@contextmanager
def heard_libtiff(source: str) -> Iterator[None]:
    """Make what it says within the reason of an error, or one warning.

    Args:
        source: the name of the image.

    Warns:
        ImageWarning: it said something, and there was no error.

    Raises:
        OSError: the decoder's own, with libtiff's reason in place of a number.
    """
    lines: list[str] = []
    try:
        with heard(WORDS) as lines:
            yield
    except OSError as error:
        if lines:
            raise OSError(_short(lines[-1])) from error
        raise
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        text = f"{source}: its decoder complains: {_short(lines[0])}{more}"
        warnings.warn(text, ImageWarning, stacklevel=4)


def _short(line: str) -> str:
    return line.removeprefix(_NAME)[:_LONGEST]
