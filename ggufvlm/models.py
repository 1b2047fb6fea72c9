"""From what a user calls a model to its two files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.errors import ModelError, UsageError
from ggufvlm.registry import Registry, config_dir, load_registry
from ggufvlm.registry_schema import ModelSpec

MODEL_VARIABLE = "GGUFVLM_MODEL"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A language model and its projector on disk.

    Attributes:
        name: what to call the pair.
        spec: what the registry knows of it, ``None`` for a stranger.
    """

    name: str
    model: Path
    mmproj: Path
    spec: ModelSpec | None = None


def default_model() -> str:
    """``GGUFVLM_MODEL``, else ``model`` in the user's ``config.toml``, else the registry's default.

    Raises:
        UsageError: the user's file cannot be read.
    """
    return os.environ.get(MODEL_VARIABLE) or _configured_model() or load_registry().default.id


def _configured_model() -> str | None:
    path = config_dir() / "config.toml"
    if not path.is_file():
        return None
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        model = tomllib.loads(path.read_text(encoding="utf-8")).get("model")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    if model is not None and not isinstance(model, str):
        raise UsageError(f'{path}: model must be a name in quotes, such as "qwen2-vl-2b"')
    return model


def find_model(name: str | None = None, mmproj: Path | None = None) -> ModelFiles:
    """The files of a model.

    Args:
        name: a name from the registry (``qwen2-vl-2b``, ``qwen2-vl-2b:Q8_0``) or a path to a GGUF; ``None`` is the
            user's default.
        mmproj: the projector, if it is not the one that belongs to the model.

    Raises:
        ModelError: unknown, missing, or not downloaded.
        PairingError: several projectors lie beside a local model and none is the obvious one.
    """
    name = name or default_model()
    registry = load_registry()
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf" or path.is_file():
        return _local(path, mmproj, registry)
    plain, quant = registry.split_quant(name)
    spec = registry.find(plain)
    if not spec.builtin:
        return _downloaded(spec, quant, mmproj)
    folder = Path(__file__).parent / "demo"
    return ModelFiles(
        name=spec.id,
        model=folder / spec.model_file(quant).name,
        mmproj=mmproj or folder / spec.projector().name,
        spec=spec,
    )


def _local(path: Path, mmproj: Path | None, registry: Registry) -> ModelFiles:
    from ggufvlm.pairing import find_projector

    for file in (path, mmproj):
        if file is not None and not file.is_file():
            raise ModelError(f"{file}: no such file")
    projector = mmproj or find_projector(path)
    if projector is None:
        raise ModelError(
            f"{path.name}: no projector lies beside this model, so it cannot see",
            hint="name it: --mmproj FILE",
        )
    return ModelFiles(name=path.stem, model=path, mmproj=projector, spec=registry.match_file(path.name))


def _downloaded(spec: ModelSpec, quant: str | None, mmproj: Path | None) -> ModelFiles:
    model, projector = spec.model_file(quant), spec.projector()
    raise ModelError(
        f"{spec.id} is not on this machine, and this version cannot download it yet",
        hint=f"hf download {model.repo} {model.name} {projector.name}, then -m FILE --mmproj FILE",
    )
