"""Make tests/data/parity again: small random models, and what Transformers computes with them.

    python -m tests.parity.make_references LLAMA_CPP [FAMILY ...]

LLAMA_CPP is a checkout of llama.cpp. Needs torch, torchvision, transformers, pytest.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.parity.cases import DATA, Case, cases, draw
from tests.parity.convert import convert
from tests.parity.families import FAMILIES, Built, Family
from tests.parity.reference import LEAST_DISTINCT, Reference, compute
from tests.parity.sizes import SIZES
from tests.parity.weights import randomize


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("llama_cpp", type=Path)
    parser.add_argument("families", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.families or FAMILIES:
        make(FAMILIES[name], arguments.llama_cpp)


def make(family: Family, llama_cpp: Path) -> None:
    target = DATA / family.name
    target.mkdir(parents=True, exist_ok=True)
    dialogues = cases(SIZES[family.name])
    for case in dialogues:
        _store_images(case)
    built = family.build(family.template)
    quiet = list(built.processor.tokenizer.added_tokens_decoder)
    seed, references = _first_clear(family, built, quiet, dialogues)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / family.name  # the converter makes the model's name of it
        built.model.save_pretrained(folder)
        if not family.has_template:
            built.processor.chat_template = None
        built.processor.save_pretrained(folder)
        built.processor.image_processor.save_pretrained(folder)
        _rename(folder / "model.safetensors", family.renamed)
        convert(llama_cpp, folder, target, with_projector=family.write_projector is None)
    if family.write_projector:
        family.write_projector(built.model, target / "mmproj.gguf")
    arrays = {f"{case}/{key}": value for case, one in references.items() for key, value in asdict(one).items()}
    np.savez_compressed(target / "reference.npz", **arrays)
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"{family.name}: seed {seed}, {size / 1e3:.0f} kB")
    for case, one in references.items():
        print(f"  {case}: {len(one.embeddings)} rows, logits {one.logits.std():.2f}, {one.answer}")


def _rename(weights: Path, renamed: tuple[tuple[str, str], ...]) -> None:
    tensors = load_file(weights)
    for old, new in renamed:
        tensors = {key.replace(old, new, 1) if key.startswith(old) else key: value for key, value in tensors.items()}
    save_file(tensors, weights, metadata={"format": "pt"})


def _first_clear(
    family: Family, built: Built, quiet: list[int], dialogues: list[Case]
) -> tuple[int, dict[str, Reference]]:
    """Weights with which no greedy token is a tie that rounding decides, and no answer one token over and over."""
    for seed in range(family.seed, family.seed + 5000):
        randomize(built.model, quiet, seed)
        built.model.generation_config.eos_token_id = None
        references: dict[str, Reference] = {}
        for case in dialogues:
            model = built.model.eval()
            one = compute(model, built.processor, case, built.image_tokens)
            if one.margins.min() < family.least_margin or len(set(one.answer.tolist())) < LEAST_DISTINCT:
                break
            if family.disturb:
                other = compute(model, built.processor, case, built.image_tokens, family.disturb)
                if not np.array_equal(other.answer, one.answer):
                    break
            references[case.name] = one
        else:
            return seed, references
    raise SystemExit(f"{family.name}: no seed gives clear answers")


def _store_images(case: Case) -> None:
    (DATA / "images").mkdir(parents=True, exist_ok=True)
    for width, height in case.images:
        draw((width, height)).save(DATA / "images" / f"{width}x{height}.png", optimize=True)


if __name__ == "__main__":
    main()
