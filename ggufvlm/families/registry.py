"""All families, and which one a model belongs to. Nobody else asks for a projector's type to decide about a family."""

from __future__ import annotations

from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families import (
    deepseek_ocr,
    dots_ocr,
    gemma,
    glm,
    granite,
    internvl,
    kimi_vl,
    lfm2,
    llava,
    minicpm,
    moondream,
    page_readers,
    pixtral,
    qwen_vl,
    smolvlm,
)
from ggufvlm.families.convention import PLAIN_JSON, Convention
from ggufvlm.families.family import Family
from ggufvlm.gguf.header import read_header
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.pairing import projector_type_of

_MODULES = (
    *(deepseek_ocr, dots_ocr, gemma, glm, granite, internvl, kimi_vl, lfm2),
    *(llava, minicpm, moondream, page_readers, pixtral, qwen_vl, smolvlm),
)
FAMILIES: tuple[Family, ...] = tuple(family for module in _MODULES for family in module.FAMILIES)
GENERIC = Family(name="generic", projectors=(), token_bounds=(8, 16384))
"""Of a model of which nothing is known: its own template, and images as libmtmd resizes them."""

ANY_FAMILY = "generic"
"""What ``handler`` in models.toml says where the projector decides."""


def choose_family(
    projector_type: str | None, *, architecture: str | None = None, word: str | None = None, names: tuple[str, ...] = ()
) -> Family:
    """The family of a model. What the registry says wins over the projector, or is refused.

    Args:
        projector_type: the projector's own word; ``None`` if it is not known.
        architecture: of the language model.
        word: ``handler`` of the registry's entry, if there is one.
        names: what the model is called, in its file, by the registry, by its path.

    Returns:
        :data:`GENERIC` for a model of no family that is known.

    Raises:
        ModelError: the registry's entry names no family that is known, or one whose projectors are of other types.
    """
    fitting = [family for family in FAMILIES if projector_type in family.projectors]
    if word not in (None, ANY_FAMILY):
        named = [family for family in FAMILIES if family.word == word]
        if not named:
            words = sorted({family.word for family in FAMILIES} - {""})
            raise ModelError(f"handler {word!r} is no family", hint=f"known: {', '.join((*words, ANY_FAMILY))}")
        if fitting and not [family for family in named if family in fitting]:
            raise ModelError(
                f"the registry says handler = {word!r}, and {projector_type} is a projector of {fitting[0].name}",
                hint=f"handler = {fitting[0].word or ANY_FAMILY!r} in the entry",
            )
        fitting = [family for family in named if family in fitting] or named[:1]
    plain = [name.lower().replace("_", "-").replace(" ", "-") for name in names]
    for family in fitting:
        if any(part in name for part in family.names for name in plain):
            return family
    for family in fitting:
        if architecture in family.architectures:
            return family
    ordinary = [family for family in fitting if not family.names and not family.architectures]
    return next(iter(ordinary or fitting), GENERIC)


def find_family(files: ModelFiles, projector_type: str | None = None) -> Family:
    """The family of a model on disk, from its headers, its names and the registry.

    Args:
        files: the model.
        projector_type: of a projector whose file may not name it; ``None`` reads the file, ``mlp`` if it is silent.

    Raises:
        ModelError: the files are damaged, or the registry's entry contradicts them.
    """
    model = read_header(files.model, stop_at_vocabulary=True)
    names = (files.spec.id if files.spec else "", model.text("general.name") or "", files.name, files.model.name)
    return choose_family(
        projector_type or projector_type_of(read_header(files.mmproj)) or "mlp",
        architecture=model.architecture,
        word=files.spec.handler if files.spec else None,
        names=names,
    )


CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (*(family.convention for family in FAMILIES), PLAIN_JSON)
    if convention is not None
}
"""All conventions for boxes and points, by the names that ``--convention`` and models.toml have for them."""


def find_convention(name: str) -> Convention:
    """The convention of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in CONVENTIONS:
        raise UsageError(f"unknown convention for boxes: {name!r}", hint=f"known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
