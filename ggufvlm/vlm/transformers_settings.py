"""The options of Transformers' pipeline, as ours: what has a meaning here is taken, all else is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.models.registry import load_registry

_SAMPLING_NAMES = {
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
_ONLY_ONE = ("num_beams", "num_return_sequences", "num_beam_groups")
_WITHOUT_EFFECT = ("use_fast", "framework", "trust_remote_code", "use_cache", "low_cpu_mem_usage")
"""Nothing of what they switch is here: no Python tokenizer, no other framework, no code from the Hub."""
_INSTEAD = {
    "tokenizer": "the GGUF file brings its own",
    "processor": "the GGUF file brings its own",
    "image_processor": "the GGUF file brings its own",
    "feature_extractor": "the GGUF file brings its own",
    "quantization_config": 'model="NAME:Q4_K_M" chooses a quantization',
    "model_kwargs": "config=EngineConfig(...) says how the model runs",
    "token": "HF_TOKEN in the environment",
    "revision": "download the files, and pass a path as model",
    "streamer": "VLM.stream gives the answer piece by piece",
}


def sampling_settings(given: Mapping[str, Any], *, is_greedy: bool) -> dict[str, Any]:
    """Settings of a call as :class:`~ggufvlm.SamplingParams` has them.

    Args:
        given: by their names in Transformers.
        is_greedy: whether the model takes the most probable token unless told otherwise.

    Raises:
        UsageError: one that has no meaning here; the message names it.
    """
    left = dict(given)
    samples, stop = left.pop("do_sample", None), left.pop("stop_strings", None)
    sampling: dict[str, Any] = {}
    for name, value in left.items():
        if name in _WITHOUT_EFFECT or (name in _ONLY_ONE and value in (None, 1)):
            continue
        if name in _ONLY_ONE:
            raise UsageError(f"{name}={value!r}: one answer is made, token by token", hint=f"{name}=1")
        if name not in _SAMPLING_NAMES:
            known = f"known: {', '.join(_SAMPLING_NAMES)}, do_sample, stop_strings"
            raise UsageError(f"the pipeline does not know {name!r}", hint=_INSTEAD.get(name, known))
        if value is not None:
            sampling[_SAMPLING_NAMES[name]] = value
    if samples is False:
        sampling["temperature"] = 0.0
    elif samples and is_greedy:
        sampling.setdefault("temperature", 1.0)  # as Transformers has it
    if stop:
        sampling["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return sampling


def placed(config: EngineConfig, device: Any, device_map: Any) -> EngineConfig:
    """The engine's settings for a device.

    Args:
        config: the settings else.
        device: a number, a name, or a ``torch.device``; -1 is the CPU.
        device_map: a name; "auto" puts as much on the GPU as fits, which is done anyway.

    Raises:
        UsageError: a device that cannot be chosen here.
    """
    for name, value in (("device", device), ("device_map", device_map)):
        if value is None:
            continue
        if isinstance(value, Mapping):
            raise UsageError(f"{name}: layers cannot be placed one by one", hint='device_map="auto"')
        kind, _, number = ("cpu", "", "") if value == -1 else _parts(value)
        if kind == "cpu":
            return replace(config, n_gpu_layers=0, mmproj_offload=False)
        if kind not in ("cuda", "mps", "xpu", "auto", "balanced", "sequential"):
            raise UsageError(f"{name}={value!r}: no such device", hint='"cpu", "cuda" or "auto"')
        if number not in ("", "0"):
            hint = f"CUDA_VISIBLE_DEVICES={number} in the environment, and {name}=0"
            raise UsageError(f"{name}={value!r}: among several GPUs none can be chosen here", hint=hint)
    return config


def _parts(device: Any) -> tuple[str, str, str]:
    return ("cuda", ":", str(device)) if isinstance(device, int) else str(device).partition(":")


def gguf_name(model: str) -> str:
    """What a model is called here: for a repository of weights for Transformers the entry with the same as GGUF."""
    repo, colon, quant = model.partition(":")
    registry = load_registry()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo) or registry.match_repo(repo):
        return model
    wanted = f"{repo.partition('/')[2]}-GGUF".lower()
    found = [spec.id for spec in registry if (spec.repo or "").lower().rpartition("/")[2] == wanted]
    return f"{found[0]}{colon}{quant}" if len(found) == 1 else model
