"""Do this language model and this projector belong together? Answered from their headers, before llama.cpp loads them.

llama.cpp ends the process, or says no more than "failed to load", where a file is damaged or a pair does not match.
Here each such case is one sentence that names the file. The rules are those of libmtmd (``tools/mtmd/clip.cpp``,
``clip-impl.h``, ``mtmd.cpp``) as vendored by llama-cpp-python 0.3.36.

:func:`compare` is pure: headers in, :class:`PairReport` out, so it also serves files that are not downloaded yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ggufvlm.errors import ModelError, PairingError
from ggufvlm.gguf.header import GGUFHeader, read_header
from ggufvlm.gguf.names import split_parts
from ggufvlm.models.soundness import check_language_model, check_vision_tower
from ggufvlm.version import upgrade_command

# PROJECTOR_TYPE_NAMES of clip-impl.h: first the types for images, with the tensor and the side whose length is the
# width (clip_n_mmproj_embd and load_tensors of clip.cpp), then those for sound only.
_WIDTHS: dict[str, tuple[str, int]] = {
    name: (tensor, side)
    for (tensor, side), names in {
        ("mm.2.weight", 1): "mlp phi4 pixtral lightonocr dots_ocr dots3note_v mimovl lfm2 kimivl paddleocr kimik25 "
        "yasa2 deepseek4v muse-glimmer",
        ("mm.2.bias", 0): "qwen2vl_merger qwen2.5vl_merger qwen2.5o qwen3vl_merger exaone4_5 youtuvl ling3vl",
        ("mm.1.bias", 0): "janus_pro",
        ("mm.model.fc.weight", 1): "step3vl idefics3 llama4 hunyuanvl deepseekocr deepseekocr2",
        ("mm.model.mlp.3.weight", 1): "internvl nemotron_v2_vl",
        ("mm.input_projection.weight", 0): "gemma3 gemma3nv",
        ("mm.input_projection.weight", 1): "gemma4v gemma4uv",
        ("mm.down.weight", 1): "glm4v glm5v cogvlm minicpmv4_6",
        ("mm.merger.fc2.bias", 0): "minimax_m3",
        ("mm.model.mb_block.1.block.2.1.bias", 0): "ldp",
        ("mm.model.peg.0.bias", 0): "ldpv2",
        ("resampler.proj.weight", 0): "resampler",
        ("adapter.linear.dense_4h_to_h.weight", 1): "adapter",
        ("", 0): "granite4_vision",  # a product of two keys
    }.items()
    for name in names.split()
}
VISION_PROJECTORS = frozenset(_WIDTHS)
_AUDIO = (
    "gemma3na gemma4a gemma4ua ultravox qwen2a qwen3a glma voxtral meralion musicflamingo dots3note_a lfm2a "
    "granite_speech mimo_audio parakeet qwen3tts_spkenc qwen3tts_gen pockettts_spkenc pockettts_gen"
)
AUDIO_PROJECTORS = frozenset(_AUDIO.split())

# llama.cpp compares widths only, so a stranger of equal width loads and talks nonsense. These types are made by its
# converters for these architectures and for no other. Types that many architectures share are not listed.
_MADE_FOR = {
    "qwen2vl_merger": ("qwen2vl", "llama"),  # llama: Sarashina2.2-Vision
    "qwen2.5vl_merger": ("qwen2vl",),
    "qwen2.5o": ("qwen2vl",),
    "qwen3vl_merger": ("qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen4exp"),
    "gemma3": ("gemma3",),
    "gemma3nv": ("gemma3n",),
    "gemma4v": ("gemma4",),
    "gemma4uv": ("gemma4",),
    "llama4": ("llama4",),
    "cogvlm": ("cogvlm",),
    "paddleocr": ("paddleocr",),
    "hunyuanvl": ("hunyuan_vl",),
    "glm4v": ("glm4", "glm4moe"),
}
# Architectures that exist for vision only take nothing but the types made for them.
_VISION_ARCHITECTURES = frozenset({"qwen2vl", "qwen3vl", "qwen3vlmoe", "cogvlm", "paddleocr", "hunyuan_vl"})

# Keys that clip.cpp wants, and the stored types it takes for granted: another type ends the process (gguf_get_val_*).
_REQUIRED = {
    "uint32": "vision.embedding_length vision.attention.head_count vision.feed_forward_length vision.block_count "
    "vision.projection_dim vision.image_size vision.patch_size",
    "float32": "vision.attention.layer_norm_epsilon",
    "[float32]": "vision.image_mean vision.image_std",
}
_OPTIONAL = {
    "uint32": "vision.attention.head_count_kv vision.attention.head_dim vision.spatial_merge_size "
    "vision.image_min_pixels vision.image_max_pixels vision.n_wa_pattern vision.window_size "
    "vision.projector.scale_factor vision.preproc_min_tiles vision.preproc_max_tiles vision.preproc_image_size "
    "minicpmv_query_num",
    "int32": "minicpmv_version",
    "[int32]": "vision.feature_layer vision.image_grid_pinpoints",
    "string": "projector_type vision.projector_type vision.mm_patch_merge_type",
    "bool": "has_audio_encoder use_gelu use_silu",
}
_REQUIRED_TYPES = {f"clip.{key}": word for word, keys in _REQUIRED.items() for key in keys.split()}
_OPTIONAL_TYPES = {f"clip.{key}": word for word, keys in _OPTIONAL.items() for key in keys.split()}
_OPTIONAL_TYPES |= {"general.name": "string", "general.description": "string"}
_DIVISORS = ("clip.vision.embedding_length", "clip.vision.attention.head_count", "clip.vision.patch_size")

_AGAIN = "download the file again"
_DEEPSTACK = re.compile(r"v\.deepstack\.\d+\.fc1\.weight")


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """What the two headers say. ``has_chat_template`` is None if reading stopped before it could be known."""

    architecture: str
    n_embd: int
    n_embd_inp: int
    projector_type: str
    projector_type_inferred: bool
    projector_width: int
    has_chat_template: bool | None
    has_class_embedding: bool
    has_image_grid: bool
    image_size: int | None
    patch_size: int | None
    spatial_merge_size: int | None
    longest_edge: int | None
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    min_pixels: int | None
    max_pixels: int | None


def check_pair(
    model_path: Path, mmproj_path: Path, *, thorough: bool = True, allow_untyped: bool = False
) -> PairReport:
    """Check two local files, as :func:`compare` does, and that all parts of a split model lie beside each other.

    Args:
        model_path: the language model; of a split one its first part.
        mmproj_path: the projector.
        thorough: False stops reading the model at its vocabulary, which takes a tenth of a millisecond instead of
            twenty: a truncated model is then left to llama.cpp, which refuses it without harm. A refusal is never
            based on such a short look.
        allow_untyped: as of :func:`compare`.

    Raises:
        ModelError: a file is missing, damaged, truncated or of the wrong kind.
        PairingError: the two do not belong together.
    """
    model = read_header(model_path, stop_at_vocabulary=not thorough)
    projector = read_header(mmproj_path)
    if model.is_projector and not projector.is_projector:
        raise PairingError(
            f"{model.name} is a projector and {projector.name} a language model: these two are the wrong way round",
            hint=f"-m {mmproj_path} --mmproj {model_path}",
        )
    _check_parts(model_path, model, thorough=thorough)
    try:
        return compare(model, projector, allow_untyped=allow_untyped)
    except ModelError:
        if model.complete:
            raise
    return compare(read_header(model_path), projector, allow_untyped=allow_untyped)


def compare(model: GGUFHeader, projector: GGUFHeader, *, allow_untyped: bool = False) -> PairReport:
    """Compare the headers of a language model and of a projector.

    Args:
        model: the language model's header, perhaps read to its vocabulary only.
        projector: the projector's whole header.
        allow_untyped: accept a projector of 2023 that does not name its type; llama.cpp itself refuses such a file,
            so it is for callers who load a corrected copy (:mod:`ggufvlm.projectors.repair`).

    Raises:
        ModelError: a file is truncated, of the wrong kind, or not usable by llama.cpp.
        PairingError: the two do not belong together.
    """
    check_model(model)
    projector_type, inferred = check_projector(projector, allow_untyped=allow_untyped)
    n_embd = model.integer(f"{model.architecture}.embedding_length") or 0
    report = PairReport(
        architecture=model.architecture or "",
        n_embd=n_embd,
        n_embd_inp=n_embd * (1 + _n_deepstack(model)),
        projector_type=projector_type,
        projector_type_inferred=inferred,
        projector_width=_width(projector, projector_type),
        has_chat_template=bool(model.chat_template) if model.chat_template or model.complete else None,
        has_class_embedding="v.class_embd" in projector.tensors,
        has_image_grid="clip.vision.image_grid_pinpoints" in projector.metadata,
        image_size=projector.integer("clip.vision.image_size"),
        patch_size=projector.integer("clip.vision.patch_size"),
        spatial_merge_size=projector.integer("clip.vision.spatial_merge_size"),
        longest_edge=projector.integer("clip.vision.preproc_image_size"),
        image_mean=_floats(projector, "clip.vision.image_mean"),
        image_std=_floats(projector, "clip.vision.image_std"),
        min_pixels=projector.integer("clip.vision.image_min_pixels"),
        max_pixels=projector.integer("clip.vision.image_max_pixels"),
    )
    _check_fit(report, model.name, projector.name)
    check_vision_tower(projector, projector_type)  # last: another model's projector is no damaged one
    return report


def check_model(model: GGUFHeader) -> None:
    """Raise ModelError or PairingError unless the file is a whole language model."""
    if model.is_projector:
        raise PairingError(f"{model.name} is a projector, not a language model", hint="-m MODEL --mmproj PROJECTOR")
    kind = model.text("general.type")
    if kind in ("adapter", "imatrix"):
        raise ModelError(f"{model.name} is not a model but a file of the type {kind}", hint="pass a model with -m")
    if model.architecture is None and model.complete:
        raise ModelError(f"{model.name}: damaged: it does not say its architecture", hint=_AGAIN)
    _check_size(model)
    if model.complete and not model.tensors and not model.integer("split.count"):
        raise ModelError(f"{model.name} holds a vocabulary only, no model", hint="pass a model with -m")
    if model.complete and not model.integer(f"{model.architecture}.embedding_length"):
        raise ModelError(f"{model.name}: damaged: {model.architecture}.embedding_length is missing")
    check_language_model(model)


def check_projector(projector: GGUFHeader, *, allow_untyped: bool = False) -> tuple[str, bool]:
    """The projector's type, and whether it had to be inferred. Raises ModelError or PairingError if unusable."""
    if not projector.is_projector:
        what = f"a language model ({projector.architecture})" if projector.architecture else "something else"
        why = f"{projector.name} is not a projector but {what}"
        raise PairingError(why, hint="pass the model's mmproj file with --mmproj")
    _check_size(projector)
    if projector.metadata.get("clip.has_vision_encoder") is not True:
        sound = projector.metadata.get("clip.has_audio_encoder") is True
        why = "is a projector for sound and cannot see images" if sound else "has no vision encoder"
        raise ModelError(f"{projector.name} {why}", hint="pass the vision projector of this model with --mmproj")
    _check_keys(projector)
    named = projector_type_of(projector)
    if named is None and not allow_untyped:
        raise ModelError(
            f"{projector.name} is a projector of 2023: without clip.projector_type llama.cpp cannot load it",
            hint="use a projector for the same model that was made in 2024 or later",
        )
    kind = named or _inferred_type(projector)
    if kind in AUDIO_PROJECTORS:
        raise ModelError(f"{projector.name} is a projector for sound ({kind}) and cannot see images")
    if kind not in VISION_PROJECTORS:
        why = f"the projector type {kind[:60]!r} is not known to this llama.cpp"
        raise ModelError(f"{projector.name}: {why}", hint=upgrade_command())
    return kind, named is None


def require_projector(model: GGUFHeader) -> NoReturn:
    """Raise the PairingError for a model that was given without a projector."""
    check_model(model)
    raise PairingError(
        f"{model.name} is a language model ({model.architecture}) and cannot see without its projector",
        hint="--mmproj FILE, the mmproj-*.gguf that belongs to the model",
    )


def projector_type_of(projector: GGUFHeader) -> str | None:
    """The type that a projector's file names; ``None`` for one of 2023, which names none."""
    return projector.text("clip.projector_type") or projector.text("clip.vision.projector_type")


def _check_size(header: GGUFHeader) -> None:
    needed = header.size_needed
    if needed is not None and header.file_size < needed:
        raise ModelError(f"{header.name}: truncated: it has {header.file_size:,} of {needed:,} bytes", hint=_AGAIN)


def _check_parts(path: Path, header: GGUFHeader, *, thorough: bool) -> None:
    parts, count = split_parts(path), header.integer("split.count") or 1
    if len(parts) != count > 1:
        raise ModelError(
            f"{path.name} is one of the {count} parts of a split model, but is not named like one",
            hint=f"name it MODEL-00001-of-{count:05d}.gguf, and its other parts likewise",
        )
    for part in parts[1:] if thorough else ():
        _check_size(read_header(part))


def _check_keys(projector: GGUFHeader) -> None:
    missing = next((key for key in _REQUIRED_TYPES if key not in projector.metadata), None)
    if missing:
        raise ModelError(f"{projector.name}: not a projector that llama.cpp can load: {missing} is missing")
    for key, wanted in {**_REQUIRED_TYPES, **_OPTIONAL_TYPES}.items():
        if projector.types.get(key, wanted) != wanted:
            raise ModelError(f"{projector.name}: damaged: {key} is stored as {projector.types[key]}, not as {wanted}")
    for key in _DIVISORS:
        if not projector.integer(key):
            raise ModelError(f"{projector.name}: damaged: {key} is 0")
    for key in ("clip.vision.image_mean", "clip.vision.image_std"):
        if len(_floats(projector, key)) < 3:
            raise ModelError(f"{projector.name}: damaged: {key} has fewer than 3 values")


def _inferred_type(projector: GGUFHeader) -> str:
    """What libmtmd took a file without a type for, until it began to refuse it: LLaVA's ``mlp``."""
    signs = {"resampler.proj.weight": "resampler", "mm.model.peg.0.weight": "ldpv2", "mm.model.mlp.1.weight": "ldp"}
    return next((name for tensor, name in signs.items() if tensor in projector.tensors), "mlp")


def _width(projector: GGUFHeader, projector_type: str) -> int:
    """Length of the vectors it hands to the language model: clip_n_mmproj_embd of clip.cpp."""
    if projector_type == "granite4_vision":
        layers = projector.metadata.get("clip.vision.feature_layer")
        n_layers = len(layers) if isinstance(layers, tuple) else 0
        return n_layers * (projector.integer("clip.vision.projection_dim") or 0)
    name, side = _WIDTHS[projector_type]
    if projector_type == "mlp" and "mm.3.weight" in projector.tensors:
        name, side = "mm.3.bias", 0  # LLaVA on Yi
    tensor = projector.tensors.get(name)
    if tensor is None or len(tensor.shape) <= side:
        raise ModelError(f"{projector.name}: damaged: the tensor {name} of a {projector_type} projector is missing")
    width = tensor.shape[side]
    if projector_type == "qwen3vl_merger":
        n_layers = projector.integer("clip.vision.block_count") or 0
        n_deepstack = sum(_DEEPSTACK.fullmatch(name) is not None for name in projector.tensors)
        width *= 1 + min(n_layers, n_deepstack)
    return width


def _n_deepstack(model: GGUFHeader) -> int:
    """Extra vectors that an image row carries for deeper layers: llama_hparams::n_embd_inp."""
    if model.architecture in ("qwen3vl", "qwen3vlmoe"):
        return model.integer(f"{model.architecture}.n_deepstack_layers") or 0
    if model.architecture in ("granite", "granite_swa"):
        mapping = model.metadata.get(f"{model.architecture}.deepstack_mapping")
        if isinstance(mapping, tuple):
            return len({index for index in mapping if isinstance(index, int) and index >= 0})
    return 0


def _check_fit(report: PairReport, model: str, projector: str) -> None:
    hint = "--mmproj with the projector that was published with this model"
    architecture, kind = report.architecture, report.projector_type
    if report.projector_width != report.n_embd_inp:
        widths = f"its vectors have {report.projector_width} numbers, {architecture} takes {report.n_embd_inp}"
        raise PairingError(f"{projector} does not fit {model}: {widths}", hint=hint)
    made_for = _MADE_FOR.get(kind, ())
    if architecture not in made_for and (made_for or architecture in _VISION_ARCHITECTURES):
        why = f"a {kind} projector is made for {' or '.join(made_for) or 'other models'}, not for {architecture}"
        raise PairingError(f"{projector} does not fit {model}: {why}", hint=hint)


def _floats(header: GGUFHeader, key: str) -> tuple[float, ...]:
    value = header.metadata.get(key)
    return tuple(number for number in value if isinstance(number, float)) if isinstance(value, tuple) else ()
