"""Arrays of numpy, torch and their like -> Image: what is unambiguous is taken, the rest is refused with its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import finish
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SOURCE = "<array>"
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SHAPES = "height x width, height x width x 1 to 4, or 1, 3 or 4 x height x width"


class SupportsArray(Protocol):
    """What numpy can make an array of: its own arrays, tensors of torch on the CPU, arrays of JAX and others."""

    def __array__(self) -> npt.NDArray[Any]: ...


def is_array(source: object) -> TypeGuard[SupportsArray]:
    """Whether it gives its numbers as an array."""
    return hasattr(type(source), "__array__")


def from_array(source: SupportsArray, *, max_pixels: int) -> Image:
    """An image of an array.

    Args:
        source: of shape (height, width), (height, width, channels) or (channels, height, width); channels are grey,
            grey and alpha (last only), RGB or RGBA. Where the last axis could hold channels, it does. Numbers are
            bool, integers in 0..255, uint16 in 0..65535, or floats in 0..1 or 0..255.
        max_pixels: largest width times height that is taken.

    Raises:
        ImageError: it has another shape, or numbers of another range.
    """
    import PIL.Image

    array = _channels_last(_as_numpy(source))
    height, width, n_channels = array.shape
    if height * width > max_pixels:  # before its numbers are copied
        raise _refusal(array, f"has more than the limit of {max_pixels} pixels", hint="scale it down first")
    pixels, mode = _bytes(array), _MODES[n_channels]
    return finish(PIL.Image.frombytes(mode, (width, height), pixels.tobytes()), SOURCE, max_pixels=max_pixels)


def _as_numpy(source: SupportsArray) -> npt.NDArray[Any]:
    import numpy as np

    try:
        return np.asarray(source)
    except Exception as error:  # a tensor on a GPU, or one with a gradient, says itself what it takes
        why = str(error).partition("\n")[0]
        raise ImageError(f"{type(source).__name__}: gives no array ({why})", hint="x.detach().cpu()") from error


def _channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with axes height, width, channels."""
    import numpy as np

    shape = array.shape
    if 0 in shape:
        raise _refusal(array, "holds nothing")
    if array.ndim == 2:
        return array[:, :, np.newaxis]
    if array.ndim == 3 and shape[2] in _MODES:
        return array
    if array.ndim == 3 and shape[0] in (1, 3, 4):
        return np.moveaxis(array, 0, 2)
    if array.ndim == 4:
        raise _refusal(array, "is several images", hint="x[0] is the first one; describe([x[0], x[1]], ...) takes more")
    raise _refusal(array, "is no image", hint=f"pass {_SHAPES}")


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The numbers as 0..255."""
    import numpy as np

    kind = array.dtype.kind
    if kind not in "buif":
        raise _refusal(array, "holds no numbers of pixels", hint="uint8, or floats in 0..1")
    low, high = float(array.min()), float(array.max())
    if not low >= 0 or not high < float("inf"):  # also if one is no number
        raise _refusal(
            array,
            f"has values from {low:g} to {high:g}",
            hint="0..1 or 0..255, as before normalizing: x * std + mean",
        )
    if array.dtype == np.uint16 and high > 255:
        pixels = (array.astype(np.uint32) * 255 + 32767) // 65535
    elif high > 255:
        raise _refusal(array, f"has values up to {high:g}", hint="0..255, floats in 0..1, or uint16 in 0..65535")
    elif kind == "b" or (kind == "f" and high <= 1):
        pixels = np.rint(array.astype(np.float32) * 255)
    else:
        pixels = np.rint(array) if kind == "f" else array
    whole: npt.NDArray[np.uint8] = pixels.astype(np.uint8)
    return whole


def _refusal(array: npt.NDArray[Any], what: str, hint: str | None = None) -> ImageError:
    shape = " x ".join(str(side) for side in array.shape) or "none"
    return ImageError(f"{SOURCE}: {array.dtype} of shape {shape} {what}", hint=hint)
