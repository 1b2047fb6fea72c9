"""What an answer depends on: equal keys, equal answers. So rows are known again after renames and restarts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ggufvlm.cache.store import digest
from ggufvlm.config import EngineConfig, SamplingParams, SamplingSettings, with_settings
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.examples import Example

_FIRST = frozenset(
    (
        *("max_tokens", "temperature", "top_k", "top_p", "min_p", "seed", "stop", "repetition_guard"),
        *("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"),
    )
)
"""The settings that every hash holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Model and settings of a run.

    Attributes:
        model: the model's name with its quantization.
        model_hash, mmproj_hash: fingerprints of the two files.
        sampling: all settings, the model's own defaults among them.
        settings_hash: of ``sampling`` and what else changes an answer.
        n_ctx: size of the context in cells, as it was asked for: of long documents only a part may fit.
    """

    model: str
    model_hash: str
    mmproj_hash: str
    sampling: SamplingParams
    settings_hash: str
    n_ctx: int | None = None

    def key(self, image_ids: Sequence[str], prompt: str, system: str | None) -> str:
        """The key of one question about some images: 64 hexadecimal digits.

        Args:
            image_ids: the ids of the images, in order.
            prompt: the prompt with its fields filled in.
            system: the system message.
        """
        asked = (prompt, "" if system is None else f"system:{system}")
        return digest(*asked, self.model_hash, self.mmproj_hash, self.settings_hash, *image_ids)

    def seed(self, key: str) -> int:
        """The seed of the row with this key: the user's, or one that another run draws again."""
        return int(key[:16], 16) % (2**32 - 1) if self.sampling.seed is None else self.sampling.seed


def identify(
    files: ModelFiles,
    config: EngineConfig,
    sampling: SamplingParams,
    *,
    prefill: str = "",
    raw: bool = False,
    examples: Sequence[Example] = (),
) -> Identity:
    """Look at the model's files and gather what changes an answer.

    Slots, threads and devices are left out: they change the time an answer takes.

    Args:
        files: the model and its projector.
        config: of the engine.
        sampling: all settings, the model's own defaults among them.
        prefill: every answer starts with this text.
        raw: whether prompts go to the model without its chat template.
        examples: come before each question.

    Raises:
        ModelError: a file is damaged.
    """
    from ggufvlm.gguf.fingerprint import file_fingerprint
    from ggufvlm.gguf.names import quant_of

    settings: dict[str, Any] = {
        "sampling": _changing(sampling),
        "image_tokens": [config.image_min_tokens, config.image_max_tokens],
        "cache_types": [config.cache_type_k, config.cache_type_v],
        "prefill": prefill,
        "raw": raw,
    }
    if examples:  # only then, so that rows of before are known again
        settings["examples"] = [[example.image.id, example.answer] for example in examples]
    quant = quant_of(files.model.name)
    return Identity(
        model=files.name if ":" in files.name or quant is None else f"{files.name}:{quant}",
        model_hash=file_fingerprint(files.model),
        mmproj_hash=file_fingerprint(files.mmproj),
        sampling=sampling,
        settings_hash=digest(json.dumps(settings, sort_keys=True))[:32],
        n_ctx=config.n_ctx,
    )


def _changing(sampling: SamplingParams) -> dict[str, Any]:
    """The settings; those that came later only where they are used, so that rows of before are known again."""
    settings, usual = asdict(sampling), asdict(SamplingParams())
    return {name: value for name, value in settings.items() if name in _FIRST or value != usual[name]}


def sampling_of(files: ModelFiles, settings: SamplingSettings) -> SamplingParams:
    """The model's own settings with some changed.

    Raises:
        UsageError: they make no sense.
    """
    own = SamplingParams(**(files.spec.sampling.given() if files.spec else {}))
    return with_settings(own, settings)
