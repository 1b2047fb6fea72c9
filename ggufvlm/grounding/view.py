"""Where an image lies in what the model sees of it."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.media.pixels.prepare import ImagePlan


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """An image on the canvas that the projector gets. All lengths are pixels.

    Attributes:
        image_width, image_height: of the image, upright.
        width, height: of the canvas.
        left, top, shown_width, shown_height: the rectangle of the canvas that the image fills; bars lie beside it.
    """

    image_width: int
    image_height: int
    width: float
    height: float
    left: float = 0.0
    top: float = 0.0
    shown_width: float
    shown_height: float

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """From the canvas to the image. What lies on a bar lies outside the image."""
        return (
            (x - self.left) * self.image_width / self.shown_width,
            (y - self.top) * self.image_height / self.shown_height,
        )

    def to_canvas(self, x: float, y: float) -> tuple[float, float]:
        """From the image to the canvas."""
        return (
            self.left + x * self.shown_width / self.image_width,
            self.top + y * self.shown_height / self.image_height,
        )


def whole(width: int, height: int) -> View:
    """The image itself as the canvas."""
    return View(
        image_width=width, image_height=height, width=width, height=height, shown_width=width, shown_height=height
    )


def of_plan(width: int, height: int, plan: ImagePlan) -> View:
    """What :func:`~ggufvlm.media.pixels.prepare.prepare` makes of an image of this size.

    Scaling stretches, also by way of another size. A square has the image in its middle, an odd rest at the end.

    Args:
        width, height: of the image, in pixels.
        plan: what is done with it before the projector gets it.
    """
    if plan.pad_color is None:
        return View(
            image_width=width,
            image_height=height,
            width=plan.width,
            height=plan.height,
            shown_width=plan.width,
            shown_height=plan.height,
        )
    side = max(width, height)
    across, down = plan.width / side, plan.height / side
    return View(
        image_width=width,
        image_height=height,
        width=plan.width,
        height=plan.height,
        left=(side - width) // 2 * across,
        top=(side - height) // 2 * down,
        shown_width=width * across,
        shown_height=height * down,
    )
