"""How models think before they answer, and how their templates let one choose whether."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ggufvlm.engine.request import TextPart
from ggufvlm.engine.thoughts import ThoughtMarks
from ggufvlm.errors import UsageError
from ggufvlm.families.template import variables
from ggufvlm.families.thinking_styles import STYLES, THINK_TAGS, ThinkingStyle
from ggufvlm.media import Image

_SWITCHES = ("enable_thinking", "thinking")


@dataclass(frozen=True, kw_only=True, slots=True)
class Thinking:
    """What a model does by itself, and what can be chosen.

    Attributes:
        style: its marks; ``None`` if nothing is to be taken for a thought.
        is_known: whether it is known to think: any model may, which was trained on by somebody.
        switches: names of the template's variables that turn thinking on and off; there are none where it cannot be
            chosen.
        efforts: whether the template asks how hard to think (``reasoning_effort``).
    """

    style: ThinkingStyle | None
    is_known: bool = True
    switches: tuple[str, ...] = ()
    efforts: bool = False

    def variables(self, think: bool | None, effort: str | None = None) -> dict[str, Any]:
        """What the template is told.

        Args:
            think: what the user wants; ``None`` is no, where the template lets one choose.
            effort: how hard to think, in the template's own words.

        Raises:
            UsageError: the model cannot do what is wanted.
        """
        if think and not (self.style and self.is_known):
            raise UsageError("this model does not think before it answers", hint="leave --think out")
        if effort is not None and not self.efforts:
            raise UsageError("this model's chat template has no reasoning effort to choose", hint="leave it out")
        told: dict[str, Any] = dict.fromkeys(self.switches, bool(think))
        return told if effort is None else {**told, "reasoning_effort": effort}

    def marks(
        self, prompt: Sequence[TextPart | Image], think: bool | None, *, budget: int, are_counted: bool
    ) -> ThoughtMarks | None:
        """Where thoughts begin and end in the answer to a rendered prompt; ``None`` if there are none.

        Args:
            prompt: as the template rendered it.
            think: what the user wants.
            budget: tokens of thoughts.
            are_counted: whether they count as tokens of the answer.

        Raises:
            UsageError: the user wants no thoughts, and the model cannot do without.
        """
        if self.style is None:
            return None
        is_open = self._ends_inside(prompt)
        always = is_open or self.style.is_certain
        if think is False and always:
            raise UsageError("this model always thinks before it answers", hint="--think-budget N limits how long")
        return ThoughtMarks(
            opening=self.style.opening,
            closing=self.style.closing,
            is_open=is_open,
            opens=not is_open and (bool(think) or self.style.is_certain),
            budget=budget,
            are_counted=are_counted,
        )

    def _ends_inside(self, prompt: Sequence[TextPart | Image]) -> bool:
        """Whether the prompt's last words, which are the template's own, leave a thought open."""
        assert self.style is not None
        last = prompt[-1] if prompt else None
        text = last.text if isinstance(last, TextPart) and last.trusted else ""
        return text.rfind(self.style.opening) > text.rfind(self.style.closing)


@functools.lru_cache(maxsize=16)
def find_thinking(template: str | None, own: ThinkingStyle | None) -> Thinking:
    """What a model's template tells of its thinking.

    Args:
        template: the source of its template; ``None`` if it has none.
        own: the style of its family, if that has one. Models of other families may have any of :data:`STYLES`.

    Raises:
        ModelError: the template is broken.
    """
    source = template or ""
    found = next((style for style in (own, *STYLES) if style is not None and style.closing in source), None)
    if found is None:
        return Thinking(style=own or THINK_TAGS, is_known=own is not None and own.is_certain)
    names = variables(source)
    return Thinking(
        style=found,
        switches=tuple(name for name in _SWITCHES if name in names),
        efforts="reasoning_effort" in names,
    )
