"""How pages are to be read, and what comes back of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ggufvlm.config import SamplingSettings
from ggufvlm.errors import GGUFVLMError, UsageError
from ggufvlm.families.pages import PageFormat
from ggufvlm.families.registry import find_family
from ggufvlm.media.documents.pdf_reader import DEFAULT_DPI
from ggufvlm.models.files import ModelFiles
from ggufvlm.tasks.ocr.places import PagePlace
from ggufvlm.tasks.ocr.turns import SURE, TURNS

Origin = Literal["model", "text layer", "blank"]

PAGE_TOKENS = 2048
"""Tokens a page may take where the family resizes freely and the user says nothing: about 1060 x 1500 pixels of Qwen's,
near the 1288 pixels of the longer side at which olmOCR reads (olmocr/pipeline.py)."""


def page_budget(files: ModelFiles) -> int | None:
    """Most tokens of a page's image for models that take one at any size; ``None`` leaves it to the model.

    Raises:
        ModelError: the files are damaged.
    """
    if not find_family(files).takes_any_size:
        return None
    most = files.spec.image.max_tokens if files.spec else None
    return PAGE_TOKENS if most is None else min(most, PAGE_TOKENS)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSettings:
    """How pages are read.

    Attributes:
        wanted: the format of the result.
        prompt: in place of the family's own; its answers are left as they are.
        system: a system message.
        rotate: degrees by which each page is turned clockwise; ``None`` finds out, page by page.
        sure: with ``rotate=None``, the mean probability of a token above which a page is taken to stand upright.
        takes_layer: the text that a PDF carries is taken, where there is one, and its page is not looked at.
        n_retries: how often a page is read again whose answer ended in a repetition loop.
        dpi: of pages of PDFs, dots per inch.
        measures: note how sure the model was.
        settings: fields of :class:`~ggufvlm.SamplingParams`. Without them the most probable token is taken each time.
    """

    wanted: PageFormat = "text"
    prompt: str | None = None
    system: str | None = None
    rotate: int | None = 0
    sure: float = SURE
    takes_layer: bool = False
    n_retries: int = 3
    dpi: float = DEFAULT_DPI
    measures: bool = False
    settings: SamplingSettings = field(default_factory=lambda: SamplingSettings())

    def __post_init__(self) -> None:
        if self.rotate is not None and self.rotate not in TURNS:
            raise UsageError(f"pages are turned by 0, 90, 180 or 270 degrees, not {self.rotate}")
        if self.n_retries < 0:
            raise UsageError(f"retries must not be negative: {self.n_retries}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What was read of one page.

    Attributes:
        place: which page it is.
        text: in the format that was wanted; of an answer that ended in a repetition loop what came before it.
        origin: where the text comes from; a page of a single colour is not shown to the model.
        model: which one read it, if any.
        finish_reason: of the model's answer, see :class:`~ggufvlm.vlm.answer.Answer`; "repetition": given up.
        stop_reason: likewise: which limit ended it.
        n_tokens: of the answer.
        rotation: degrees by which the page was turned clockwise before it was read.
        n_retries: times it was read again.
        confidence: geometric mean of the probabilities of the answer's tokens, if it was measured.
        error: why there is no text.
    """

    place: PagePlace
    text: str = ""
    origin: Origin | None = None
    model: str | None = None
    finish_reason: str | None = None
    stop_reason: str | None = None
    n_tokens: int = 0
    rotation: int = 0
    n_retries: int = 0
    confidence: float | None = None
    error: GGUFVLMError | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether each answer ended in a repetition loop."""
        return self.finish_reason == "repetition"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "source": self.place.name,
            "file": self.place.file.name,
            "page": self.place.number,
            "text": self.text,
            "origin": self.origin,
            "finish_reason": self.finish_reason,
            "stop_reason": self.stop_reason,
            "n_tokens": self.n_tokens,
            "rotation": self.rotation,
            "n_retries": self.n_retries,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "error": None if self.error is None else str(self.error),
        }
