"""The marks that models put around their thoughts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinkingStyle:
    """The marks around thoughts.

    Attributes:
        opening, closing: as the models write them.
        is_certain: models of this family think whatever their template says of it.
    """

    opening: str
    closing: str
    is_certain: bool = False


THINK_TAGS = ThinkingStyle(opening="<think>", closing="</think>")
KIMI = ThinkingStyle(opening="◁think▷", closing="◁/think▷")
GEMMA_4 = ThinkingStyle(opening="<|channel>thought", closing="<channel|>")
MISTRAL = ThinkingStyle(opening="[THINK]", closing="[/THINK]")
SEED = ThinkingStyle(opening="<seed:think>", closing="</seed:think>")
STYLES = (THINK_TAGS, KIMI, GEMMA_4, MISTRAL, SEED)
"""All that templates are known to have."""
