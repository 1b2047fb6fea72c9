"""Images from anywhere -> decoded RGB. The only room that imports Pillow, pypdfium2 and PyAV; it knows no model."""

from ggufvlm.media.decoding.decode import MAX_PIXELS
from ggufvlm.media.documents.pdf import pages
from ggufvlm.media.documents.video import frames
from ggufvlm.media.image import Image
from ggufvlm.media.loading import ImageSource, load, load_single
from ggufvlm.media.pixels.prepare import ImagePlan, prepare
from ggufvlm.media.pixels.resize import Resample, crop, pad_to_square, resize, save, to_pillow, to_png
from ggufvlm.media.pixels.sixel import to_sixel
from ggufvlm.media.sources.arguments import ArgumentKind, classify, expand, rejoined
from ggufvlm.media.sources.read import local_path, name_of

__all__ = [
    "MAX_PIXELS",
    "ArgumentKind",
    "Image",
    "ImagePlan",
    "ImageSource",
    "Resample",
    "classify",
    "crop",
    "expand",
    "frames",
    "load",
    "load_single",
    "local_path",
    "name_of",
    "pad_to_square",
    "pages",
    "prepare",
    "rejoined",
    "resize",
    "save",
    "to_pillow",
    "to_png",
    "to_sixel",
]
