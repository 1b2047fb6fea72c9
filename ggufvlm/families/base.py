"""What every family's chat handler has: prompts from messages, and the size at which an image is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.families.messages import Message
from ggufvlm.families.template import ImageStyle, SpecialTokens, render
from ggufvlm.families.templates import BUILTIN_TEMPLATES
from ggufvlm.media import Image, ImagePlan, Resample


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What a handler has to know of a model.

    Attributes:
        template: the GGUF's Jinja source, ``None`` if it has none.
        builtin_template: name of the built-in template to use in place of the GGUF's.
        tokens: begin and end of a sequence.
        patch_size, merge_size: pixels of a patch's side; patches per side that become one token.
        image_min_tokens, image_max_tokens: budget of an image; ``None`` leaves it to the family.
        image_size: side in pixels of the images, or tiles of images, that the tower was trained with.
        longest_edge: to which libmtmd brings the longer side of an image before it cuts it into tiles, in pixels;
            ``None`` if the file does not say.
        has_tiles: whether libmtmd cuts images into tiles by a list of resolutions in the file, as of LLaVA 1.6.
        square: side in pixels of the one square that the tower takes; ``None`` leaves the fitting to libmtmd.
        pad_color: what to fill it with beside the image; ``None`` stretches the image over it.
        rolls_patches: whether the repair of the class token wants its patches rolled.
    """

    template: str | None = None
    builtin_template: str | None = None
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    patch_size: int = 14
    merge_size: int = 1
    image_min_tokens: int | None = None
    image_max_tokens: int | None = None
    image_size: int | None = None
    longest_edge: int | None = None
    has_tiles: bool = False
    square: int | None = None
    pad_color: tuple[int, int, int] | None = None
    rolls_patches: bool = False


DEFAULT_MAX_TOKENS = 1024
"""Of an image when nobody sets a limit: as many as a CPU can look at without taking minutes."""


class ChatHandler:
    """A family of models. Knows no pixels and no llama.cpp."""

    fallback_template: ClassVar[str] = "chatml"
    images: ClassVar[ImageStyle] = ImageStyle()
    resample: ClassVar[Resample] = "bicubic"

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    @property
    def factor(self) -> int:
        """Pixels of a token's side."""
        return self.facts.patch_size * self.facts.merge_size

    @property
    def _uses_own_template(self) -> bool:
        # the registry names a built-in one only where the GGUF's does not work
        return self.facts.template is not None and self.facts.builtin_template is None

    @property
    def _builtin_name(self) -> str:
        name = self.facts.builtin_template or self.fallback_template
        if name not in BUILTIN_TEMPLATES:
            raise UsageError(
                f"there is no built-in chat template {name!r}", hint=f"known: {', '.join(BUILTIN_TEMPLATES)}"
            )
        return name

    def render(self, messages: Sequence[Message]) -> list[TextPart | Image]:
        """The prompt of a dialogue, up to where the answer begins. Images stay where the user put them.

        Raises: UsageError, ModelError: see :func:`~ggufvlm.families.template.render`.
        """
        if self._uses_own_template and self.facts.template is not None:
            return render(self.facts.template, messages, self.facts.tokens, images=self.images)
        source = BUILTIN_TEMPLATES[self._builtin_name]
        return render(source, messages, self.facts.tokens, image_type="image")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at which the projector gets an image of this size.

        The default is the image's own: libmtmd resizes.
        """
        side = self.facts.square
        return (width, height) if side is None else (side, side)

    def n_tokens(self, width: int, height: int) -> int | None:
        """How many tokens libmtmd makes of an image of this size, in pixels, brought to it by :meth:`image_plan`.

        The same formulas are llama.cpp's own (``tools/mtmd/mtmd-image.cpp``), so that a dry run tells what a loaded
        model will do. Tokens of the text that stands between tiles are not counted.

        Returns:
            None where only the loaded model can tell.
        """
        return None

    def image_plan(self, width: int, height: int) -> ImagePlan:
        """What is to be done with the pixels of an image of this size before the projector gets them.

        On a square as LLaVA 1.5 does it: ``expand2square`` with the mean colour, then bicubic (``llava/mm_utils.py``);
        1.6 stretches its overview instead (``process_anyres_image``). That hangs on the tower, not on the prompts, so
        it is every family's.
        """
        width, height = self.target_size(width, height)
        facts = self.facts
        roll = facts.patch_size if facts.rolls_patches else None
        return ImagePlan(width=width, height=height, pad_color=facts.pad_color, resample=self.resample, roll_patch=roll)

    def plan_of(self, image: Image) -> ImagePlan:
        """:meth:`image_plan` of an image that can be named.

        Raises:
            ImageError: its sides suit no image of this family.
        """
        try:
            return self.image_plan(image.width, image.height)
        except ImageError as error:
            raise ImageError(f"{image.source}: {error}", hint=error.hint) from error

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        """Least and most tokens of an image that libmtmd is told to keep to, ``None`` for its own bounds."""
        return self.facts.image_min_tokens, self.facts.image_max_tokens
