"""A font that has the letters of a text: Pillow's own, else one of the system's."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font: TypeAlias = FreeTypeFont | ImageFont

# Looked for in the system's font folders, by Pillow; the ones with most scripts first.
_SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "wqy-microhei.ttc"),
    *("NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "FreeSans.ttf", "Ubuntu-R.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Helvetica.ttc"),
    *("arial.ttf", "segoeui.ttf", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "simsun.ttc", "Nirmala.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf"),
    *("NotoSansThai-Regular.ttf",),
)
_NO_CHARACTER = "\U0010ffff"  # no font has it: what is drawn for it is what is drawn for all that is missing


def font_for(text: str, size: int) -> tuple[Font, str] | None:
    """A font of ``size`` pixels and the text to draw with it; without accents if no font has them.

    ``None``: no font on this machine has the letters.
    """
    for wanted in dict.fromkeys((text, _without_accents(text))):
        for name in ("", *_SYSTEM_FONTS):
            font = _font(name, size)
            if font is not None and all(_has(name, character) for character in set(wanted) if not character.isspace()):
                return font, wanted
    return None


@cache
def _font(name: str, size: int) -> Font | None:
    from PIL import ImageFont

    if not name:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@cache
def _has(name: str, character: str) -> bool:
    font = _font(name, 20)
    if font is None or not character.isprintable():
        return False
    return _drawn(font, character) != _drawn(font, _NO_CHARACTER)


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    try:
        mask = font.getmask(character)
    except UnicodeEncodeError:  # Pillow without FreeType: a bitmap font of Latin letters
        return (0, 0), b""
    return mask.size, bytes(mask)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))
