"""Ask a local vision-language model about images: GGUF models through llama.cpp.

>>> from ggufvlm import VLM
>>> print(VLM.load("demo").describe("blocks.png", "What is on the left?"))
The blue column.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ggufvlm import errors
from ggufvlm.errors import *  # noqa: F403 - they are listed there, once
from ggufvlm.version import __version__

if TYPE_CHECKING:
    from ggufvlm.chat.chat import Chat
    from ggufvlm.config import EngineConfig, SamplingParams, SamplingSettings
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.engine.sequence import FinishReason, TokenLogprob
    from ggufvlm.families import Message
    from ggufvlm.grounding.detections import Detections
    from ggufvlm.grounding.places import Box, Point
    from ggufvlm.media import Image, ImageSource
    from ggufvlm.models.files import ModelFiles
    from ggufvlm.tasks.classify import Classification, ClassifyParams, classify
    from ggufvlm.tasks.detect import detect
    from ggufvlm.tasks.ocr.ocr import ocr
    from ggufvlm.tasks.ocr.page import Page, PageSettings
    from ggufvlm.vlm.answer import Answer, AnswerStream, AnswerTimes, PromptSize, SeenImage, Usage
    from ggufvlm.vlm.answer import AnswerTimes as Times
    from ggufvlm.vlm.documents import Attachments
    from ggufvlm.vlm.map import Question, QuestionResult
    from ggufvlm.vlm.map import QuestionResult as Result
    from ggufvlm.vlm.score import AnswerScore, score
    from ggufvlm.vlm.score import AnswerScore as Score
    from ggufvlm.vlm.transformers_pipeline import pipeline
    from ggufvlm.vlm.vlm import VLM

_HOMES = {
    "chat.chat": ("Chat",),
    "config": ("EngineConfig", "SamplingParams", "SamplingSettings"),
    "constraints.constraint": ("Constraint",),
    "engine.sequence": ("FinishReason", "TokenLogprob"),
    "families": ("Message",),
    "grounding.detections": ("Detections",),
    "grounding.places": ("Box", "Point"),
    "media": ("Image", "ImageSource"),
    "models.files": ("ModelFiles",),
    "tasks.classify": ("Classification", "ClassifyParams", "classify"),
    "tasks.detect": ("detect",),
    "tasks.ocr.ocr": ("ocr",),
    "tasks.ocr.page": ("Page", "PageSettings"),
    "vlm.answer": ("Answer", "AnswerStream", "AnswerTimes", "PromptSize", "SeenImage", "Usage"),
    "vlm.documents": ("Attachments",),
    "vlm.map": ("Question", "QuestionResult"),
    "vlm.score": ("AnswerScore", "score"),
    "vlm.transformers_pipeline": ("pipeline",),
    "vlm.vlm": ("VLM",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_FORMER_NAMES = {"Result": "QuestionResult", "Score": "AnswerScore", "Times": "AnswerTimes"}

__all__ = [
    "VLM",
    "Answer",
    "AnswerScore",
    "AnswerStream",
    "AnswerTimes",
    "Attachments",
    "Box",
    "Chat",
    "Classification",
    "ClassifyParams",
    "Constraint",
    "Detections",
    "EngineConfig",
    "FinishReason",
    "Image",
    "ImageSource",
    "Message",
    "ModelFiles",
    "Page",
    "PageSettings",
    "Point",
    "PromptSize",
    "Question",
    "QuestionResult",
    "Result",
    "SamplingParams",
    "SamplingSettings",
    "Score",
    "SeenImage",
    "Times",
    "TokenLogprob",
    "Usage",
    "__version__",
    "classify",
    "detect",
    "ocr",
    "pipeline",
    "score",
]
__all__ += errors.__all__

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import on first use: ``import ggufvlm`` itself loads nothing heavy."""
    known = _FORMER_NAMES.get(name, name)
    if known not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[known]}"), known)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
