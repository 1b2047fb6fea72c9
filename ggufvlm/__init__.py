"""Ask a local vision-language model about images: GGUF models through llama.cpp.

>>> from ggufvlm import VLM
>>> print(VLM.load("demo").describe("blocks.png", "What is on the left?"))
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ggufvlm.version import __version__

if TYPE_CHECKING:
    from ggufvlm.chat.chat import Chat
    from ggufvlm.config import EngineConfig, SamplingParams
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.engine.sequence import TokenLogprob
    from ggufvlm.errors import (
        ContextOverflow,
        DownloadError,
        EngineError,
        GGUFVLMError,
        ImageError,
        InputError,
        MissingExtra,
        ModelError,
        OutputError,
        PairingError,
        UsageError,
    )
    from ggufvlm.grounding.detections import Detections
    from ggufvlm.media import Image
    from ggufvlm.tasks.classify import Classification, ClassifyParams, classify
    from ggufvlm.tasks.detect import detect
    from ggufvlm.vlm.answer import Answer, AnswerStream, PromptSize, SeenImage, Times, Usage
    from ggufvlm.vlm.map import Question, Result
    from ggufvlm.vlm.score import Score
    from ggufvlm.vlm.transformers_pipeline import pipeline
    from ggufvlm.vlm.vlm import VLM

_HOMES = {
    "vlm.answer": ("Answer", "AnswerStream", "PromptSize", "SeenImage", "Times", "Usage"),
    "chat.chat": ("Chat",),
    "config": ("EngineConfig", "SamplingParams"),
    "constraints.constraint": ("Constraint",),
    "engine.sequence": ("TokenLogprob",),
    "errors": (
        "ContextOverflow",
        "DownloadError",
        "EngineError",
        "GGUFVLMError",
        "ImageError",
        "InputError",
        "MissingExtra",
        "ModelError",
        "OutputError",
        "PairingError",
        "UsageError",
    ),
    "vlm.map": ("Question", "Result"),
    "media": ("Image",),
    "vlm.transformers_pipeline": ("pipeline",),
    "vlm.score": ("Score",),
    "tasks.classify": ("Classification", "ClassifyParams", "classify"),
    "grounding.detections": ("Detections",),
    "tasks.detect": ("detect",),
    "vlm.vlm": ("VLM",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "VLM",
    "Answer",
    "AnswerStream",
    "Chat",
    "Classification",
    "ClassifyParams",
    "Constraint",
    "ContextOverflow",
    "Detections",
    "DownloadError",
    "EngineConfig",
    "EngineError",
    "GGUFVLMError",
    "Image",
    "ImageError",
    "InputError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "PairingError",
    "PromptSize",
    "Question",
    "Result",
    "SamplingParams",
    "Score",
    "SeenImage",
    "Times",
    "TokenLogprob",
    "Usage",
    "UsageError",
    "__version__",
    "classify",
    "detect",
    "pipeline",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import on first use: ``import ggufvlm`` itself loads nothing heavy."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
