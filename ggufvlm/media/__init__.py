"""Pictures from anywhere -> decoded RGB. The only room that imports Pillow, pypdfium2 and PyAV; it knows no model."""

from ggufvlm.media.arguments import ArgumentKind, classify, expand
from ggufvlm.media.crop import crop
from ggufvlm.media.decode import MAX_PIXELS
from ggufvlm.media.image import Image
from ggufvlm.media.loading import ImageSource, load
from ggufvlm.media.pdf import pages
from ggufvlm.media.prepare import PicturePlan, prepare
from ggufvlm.media.resize import Resample, pad_to_square, resize, save, to_pillow, to_png
from ggufvlm.media.sixel import to_sixel
from ggufvlm.media.sources import local_path, name_of
from ggufvlm.media.video import frames

__all__ = [
    "MAX_PIXELS",
    "ArgumentKind",
    "Image",
    "ImageSource",
    "PicturePlan",
    "Resample",
    "classify",
    "crop",
    "expand",
    "frames",
    "load",
    "local_path",
    "name_of",
    "pad_to_square",
    "pages",
    "prepare",
    "resize",
    "save",
    "to_pillow",
    "to_png",
    "to_sixel",
]
