"""What every family's chat handler has: prompts from messages, and the size at which an image is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.families.messages import Message
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.sizes import shrunk
from ggufvlm.families.template import SpecialTokens, render, variables
from ggufvlm.families.templates import BUILTIN_TEMPLATES
from ggufvlm.families.thinking import Thinking, find_thinking
from ggufvlm.families.thinking_styles import ThinkingStyle
from ggufvlm.media import Image, ImagePlan, Resample


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What a handler has to know of a model.

    Attributes:
        name, family: what the model and its family are called.
        template: the GGUF's Jinja source, ``None`` if it has none.
        tool_template: the GGUF's template for dialogues with tools, if it has one of its own for them.
        builtin_template: name of the built-in template to use in place of the GGUF's.
        turns: Jinja source of the family's own template, where it is known.
        tokens: begin and end of a sequence.
        patch_size, merge_size: pixels of a patch's side; patches per side that become one token.
        image_min_tokens: least tokens of an image; ``None`` leaves them to the family.
        image_max_tokens: the most that the user allows an image; ``None``: as many as it usually has.
        usual_max_tokens: the most when the user sets no limit; ``None`` leaves them to the family.
        token_bounds: between which numbers of tokens a limit can choose; ``None`` where it has no effect.
        image_size: side in pixels of the images, or tiles of images, that the tower was trained with.
        longest_edge: to which libmtmd brings the longer side of an image before it cuts it into tiles, in pixels;
            ``None`` if the file does not say.
        has_tiles: whether libmtmd cuts images into tiles by a list of resolutions in the file, as of LLaVA 1.6.
        square: side in pixels of the one square that the tower takes; ``None`` leaves the fitting to libmtmd.
        pad_color: what to fill it with beside the image; ``None`` stretches the image over it.
        thinks: the marks around thoughts of the family's models, where some of them think.
        rolls_patches: whether the repair of the class token wants its patches rolled.
    """

    name: str = "model"
    family: str = "a family that is not known"
    template: str | None = None
    tool_template: str | None = None
    builtin_template: str | None = None
    turns: str | None = None
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    patch_size: int = 14
    merge_size: int = 1
    image_min_tokens: int | None = None
    image_max_tokens: int | None = None
    usual_max_tokens: int | None = None
    token_bounds: tuple[int, int] | None = None
    image_size: int | None = None
    longest_edge: int | None = None
    has_tiles: bool = False
    square: int | None = None
    pad_color: tuple[int, int, int] | None = None
    thinks: ThinkingStyle | None = None
    rolls_patches: bool = False


_NOT_FREE = (
    *("messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "continue_final_message"),
    *("raise_exception", "strftime_now", "namespace", "range", "dict", "cycler", "joiner", "loop", "self", "caller"),
)
DEFAULT_MAX_TOKENS = 1024
"""Of an image when nobody sets a limit: as many as a CPU can look at without taking minutes."""
_NARROWEST = 200  # times one side may be the other where libmtmd resizes: of some images it would leave no pixel


class ChatHandler:
    """A family of models. Knows no pixels and no llama.cpp."""

    images: ClassVar[ImageStyle] = ImageStyle()
    resample: ClassVar[Resample] = "bicubic"

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    @property
    def factor(self) -> int:
        """Pixels of a token's side."""
        return self.facts.patch_size * self.facts.merge_size

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before the first answer, a line each."""
        return tuple(text for text in (self._template_warning, self._limit_warning) if text)

    @property
    def _template_warning(self) -> str:
        facts = self.facts
        if facts.template is not None or facts.builtin_template is not None:
            return ""
        how = f"as for {facts.family}" if facts.turns else "as ChatML, which is a guess"
        return (
            f"{facts.name}: the file carries no chat template: prompts are written {how}; --raw sends them as they are"
        )

    @property
    def _limit_warning(self) -> str:
        limit, bounds, family = self.facts.image_max_tokens, self.token_bounds, self.facts.family
        if limit is None:
            return ""
        if bounds is None:
            return f"--image-max-tokens has no effect on the images of {family}"
        if limit < bounds[0]:
            return f"--image-max-tokens {limit}: with {family} an image takes at least {bounds[0]} tokens"
        return ""

    @property
    def thinking(self) -> Thinking:
        """Whether and how the model thinks before it answers.

        Raises:
            ModelError: its template is broken.
        """
        own = self.facts.template if self.facts.builtin_template is None else None
        return find_thinking(own, self.facts.thinks)

    def known_variables(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Variables of the template that a user has chosen.

        Args:
            given: their values by name.

        Raises:
            UsageError: the template has none of such a name, or another setting is for it.
            ModelError: the template is broken.
        """
        free = set() if self.facts.template is None else variables(self.facts.template) - set(_NOT_FREE)
        free -= set(self.thinking.switches)
        for name in given:
            if name not in free:
                hint = f"it has {', '.join(sorted(free))}" if free else "it has none that can be chosen"
                raise UsageError(f"the model's chat template has no variable {name[:80]!r} to choose", hint=hint)
        return dict(given)

    def render(
        self,
        messages: Sequence[Message],
        told: Mapping[str, Any] | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        continues: bool = False,
    ) -> list[TextPart | Image]:
        """The prompt of a dialogue, up to where the answer begins. Images stay where the user put them.

        Args:
            messages: the dialogue.
            told: variables of the template, such as those of :meth:`Thinking.variables`.
            tools: what the assistant may call, as Transformers has them; where the file has a template for them, that
                is taken.
            continues: the last message is the beginning of the answer.

        Raises: UsageError, ModelError: see :func:`~ggufvlm.families.template.render`.
        """
        facts, name = self.facts, self.facts.builtin_template
        more: dict[str, Any] = {"told": told, "tools": tools, "continues": continues}
        if name is not None:  # the registry names one only where the GGUF's does not work
            if name not in BUILTIN_TEMPLATES:
                known = ", ".join(BUILTIN_TEMPLATES)
                raise UsageError(f"there is no built-in chat template {name!r}", hint=f"known: {known}")
            return render(BUILTIN_TEMPLATES[name], messages, facts.tokens, image_type="image", **more)
        own = facts.tool_template if tools and facts.tool_template is not None else facts.template
        if own is not None:
            return render(own, messages, facts.tokens, images=self.images, **more)
        source = facts.turns or BUILTIN_TEMPLATES["chatml"]
        return render(source, messages, facts.tokens, image_type="image", **more)

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        """Least and most tokens to which a limit can bring an image; ``None`` where it can do nothing."""
        return self.facts.token_bounds

    @property
    def limit(self) -> int | None:
        """The most tokens that the user allows an image, within the family's bounds."""
        return self._within_bounds(self.facts.image_max_tokens)

    def _within_bounds(self, n_tokens: int | None) -> int | None:
        bounds = self.token_bounds
        return None if bounds is None or n_tokens is None else min(max(n_tokens, bounds[0]), bounds[1])

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at which the projector gets an image of this size.

        The default is the image's own, unless it exceeds the limit: libmtmd resizes.
        """
        side, limit = self.facts.square, self.limit
        if side is not None:
            return side, side
        if limit is not None and -(-width // self.factor) * -(-height // self.factor) > limit:
            return shrunk(width, height, factor=self.factor, most=limit)
        return max(width, -(-height // _NARROWEST)), max(height, -(-width // _NARROWEST))

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
        least, usual = (self._within_bounds(n) for n in (self.facts.image_min_tokens, self.facts.usual_max_tokens))
        most = self.limit or (usual if usual is None else max(usual, least or 0))
        return least if least is None or most is None else min(least, most), most
