"""Pictures from anywhere -> decoded RGB. The only room that imports Pillow; it knows no model."""

from ggufvlm.media.arguments import ArgumentKind, classify, expand
from ggufvlm.media.decode import MAX_PIXELS
from ggufvlm.media.image import Image
from ggufvlm.media.loading import ImageSource, load
from ggufvlm.media.prepare import PicturePlan, prepare
from ggufvlm.media.resize import Resample, pad_to_square, resize, save, to_pillow, to_png

__all__ = [
    "MAX_PIXELS",
    "ArgumentKind",
    "Image",
    "ImageSource",
    "PicturePlan",
    "Resample",
    "classify",
    "expand",
    "load",
    "pad_to_square",
    "prepare",
    "resize",
    "save",
    "to_pillow",
    "to_png",
]
