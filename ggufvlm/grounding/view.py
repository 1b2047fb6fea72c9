"""Where a picture lies in what the model sees of it."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.media.pixels.prepare import PicturePlan


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A picture on the canvas that the projector gets. All lengths are pixels.

    Attributes:
        picture_width, picture_height: of the picture, upright.
        width, height: of the canvas.
        left, top, shown_width, shown_height: the rectangle of the canvas that the picture fills; bars lie beside it.
    """

    picture_width: int
    picture_height: int
    width: float
    height: float
    left: float = 0.0
    top: float = 0.0
    shown_width: float
    shown_height: float

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """From the canvas to the picture. What lies on a bar lies outside the picture."""
        return (
            (x - self.left) * self.picture_width / self.shown_width,
            (y - self.top) * self.picture_height / self.shown_height,
        )

    def to_canvas(self, x: float, y: float) -> tuple[float, float]:
        """From the picture to the canvas."""
        return (
            self.left + x * self.shown_width / self.picture_width,
            self.top + y * self.shown_height / self.picture_height,
        )


def whole(width: int, height: int) -> View:
    """The picture itself as the canvas."""
    return View(
        picture_width=width, picture_height=height, width=width, height=height, shown_width=width, shown_height=height
    )


def of_plan(width: int, height: int, plan: PicturePlan) -> View:
    """What :func:`~ggufvlm.media.pixels.prepare.prepare` makes of a picture of this size.

    Scaling stretches, also by way of another size. A square has the picture in its middle, an odd rest at the end.
    """
    if plan.pad_color is None:
        return View(
            picture_width=width,
            picture_height=height,
            width=plan.width,
            height=plan.height,
            shown_width=plan.width,
            shown_height=plan.height,
        )
    side = max(width, height)
    across, down = plan.width / side, plan.height / side
    return View(
        picture_width=width,
        picture_height=height,
        width=plan.width,
        height=plan.height,
        left=(side - width) // 2 * across,
        top=(side - height) // 2 * down,
        shown_width=width * across,
        shown_height=height * down,
    )
