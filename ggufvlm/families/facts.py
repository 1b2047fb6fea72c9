"""What a chat handler has to know of a model, from its headers, the registry and the user's settings.

A loaded model and a dry run both take it from here, so that they cannot come to differ.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggufvlm.config import EngineConfig
from ggufvlm.families.base import DEFAULT_MAX_TOKENS, ChatHandler, ModelFacts
from ggufvlm.families.family import Family
from ggufvlm.families.registry import find_family
from ggufvlm.gguf.header import read_header
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.pairing import PairReport
from ggufvlm.models.schema import ImageFacts
from ggufvlm.projectors.repair import Repair, may_need_repair


def make_handler(
    files: ModelFiles, report: PairReport, config: EngineConfig, repair: Repair | None = None
) -> ChatHandler:
    """The chat handler of a model, without a template: :func:`dataclasses.replace` its facts to give it one.

    Args:
        files: the model, with its registry entry.
        report: what its headers say.
        config: the user's settings, for the budget of an image.
        repair: what is mended of the projector; ``None`` where nobody looks at pixels, as in a dry run.

    Raises:
        ModelError: the registry's entry contradicts the projector.
    """
    spec = files.spec
    image = spec.image if spec else None
    family = find_family(files, report.projector_type)
    patch_size = report.patch_size or 14
    merge_size = report.spatial_merge_size or _scale_factor(files.mmproj) or family.merge_size
    facts = ModelFacts(
        name=files.name,
        family=family.name,
        turns=family.turns,
        builtin_template=spec.template if spec else None,
        patch_size=patch_size,
        merge_size=merge_size,
        image_size=report.image_size,
        longest_edge=report.longest_edge,
        image_min_tokens=config.image_min_tokens or (image.min_tokens if image else None),
        image_max_tokens=config.image_max_tokens,
        usual_max_tokens=_usual_budget(image),
        token_bounds=_token_bounds(family, report, (patch_size * merge_size) ** 2),
        has_tiles=report.has_image_grid,
        thinks=family.thinks,
    )
    return family.handler(facts if repair is None else _on_a_square(facts, report, repair))


def _scale_factor(mmproj: Path) -> int | None:
    return read_header(mmproj).integer("clip.vision.projector.scale_factor")


def _token_bounds(family: Family, report: PairReport, area: int) -> tuple[int, int] | None:
    """Of the family, or of the file in pixels, of which a token covers ``area``."""
    known = family.token_bounds or (family.canvas.bounds if family.canvas else None)
    if known is None and report.min_pixels and report.max_pixels:
        return -(-report.min_pixels // area), max(-(-report.min_pixels // area), report.max_pixels // area)
    return known


def _on_a_square(facts: ModelFacts, report: PairReport, repair: Repair) -> ModelFacts:
    """Of a CLIP tower with one square; where libmtmd cuts tiles, it needs the whole image."""
    if not may_need_repair(report) or (report.has_image_grid and not repair.one_tile):
        return facts
    red, green, blue = (int(255 * min(1.0, max(0.0, mean))) for mean in report.image_mean[:3])
    return replace(
        facts,
        square=report.image_size,
        pad_color=None if report.has_image_grid else (red, green, blue),
        rolls_patches=repair.class_token,
    )


def _usual_budget(image: ImageFacts | None) -> int | None:
    """Tokens of an image when the user sets none."""
    if image is None or image.max_tokens is None:
        return None
    return min(image.max_tokens, DEFAULT_MAX_TOKENS)
