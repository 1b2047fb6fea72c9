"""Which convention a model has, by the registry's entry or by its projector."""

from __future__ import annotations

from dataclasses import replace

from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.families.convention import Convention
from ggufvlm.families.registry import find_convention, find_family
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.registry import ModelSpec, load_registry

# With equal bounds small images may end a little below the least: room for whole rows of tokens on both sides.
_ROOM = 1.25


def convention_of(files: ModelFiles, name: str | None = None) -> Convention:
    """How a model writes boxes.

    Args:
        files: the model; its headers are read.
        name: the convention that the user says it has.

    Raises:
        UsageError: it has none, or there is none of this name.
        ModelError: the projector's file is damaged.
    """
    if name is not None:
        return find_convention(name)
    if files.spec is not None:
        return convention_of_entry(files.spec)
    family = find_family(files)
    if family.convention is None:
        raise _refusal(f"{files.name} ({family.name})")
    return family.convention


def convention_of_entry(spec: ModelSpec) -> Convention:
    """How a model of the registry writes boxes.

    Raises:
        UsageError: it does not.
    """
    if spec.grounding is None:
        raise _refusal(spec.id)
    return find_convention(spec.grounding)


def _refusal(name: str) -> UsageError:
    registry = load_registry()
    able = registry.default if registry.default.grounding else next(spec for spec in registry if spec.grounding)
    return UsageError(
        f"{name} cannot say where things are in an image",
        hint=f"-m {able.id} can; --convention NAME if this is a fine-tune that can, too",
    )


def with_enough_tokens(config: EngineConfig, files: ModelFiles, convention: Convention) -> EngineConfig:
    """The settings with images large enough for reliable boxes, unless they say how large, or the model is small.

    Args:
        config: the user's settings.
        files: the model, with its registry entry.
        convention: how it writes boxes.
    """
    if config.image_min_tokens is not None or config.image_max_tokens is not None:
        return config
    image = files.spec.image if files.spec else None
    least = (image.grounding_min_tokens if image else None) or convention.min_tokens
    if least is None:
        return config
    most = max(least, int(least * _ROOM))
    if image is not None and image.max_tokens is not None:
        least, most = min(least, image.max_tokens), min(most, image.max_tokens)
    return replace(config, image_min_tokens=least, image_max_tokens=most)
