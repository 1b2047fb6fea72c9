"""Transformers model -> GGUF pair, with the converter of a llama.cpp checkout."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.parity.vocabulary import PRE_TOKENIZER


def convert(llama_cpp: Path, folder: Path, target: Path, *, with_projector: bool) -> None:
    """Write ``model.gguf`` and ``mmproj.gguf`` of a saved model, in float16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(llama_cpp / "gguf-py"))
        patch.syspath_prepend(str(llama_cpp))
        from conversion.base import TextModel

        # the converter knows pre-tokenizers by the tokens they give, and these tokens are nobody's
        patch.setattr(TextModel, "get_vocab_base_pre", lambda _self, _tokenizer: PRE_TOKENIZER)
        for name, options in {"model": [], **({"mmproj": ["--mmproj"]} if with_projector else {})}.items():
            out = target / f"{name}.gguf"
            patch.setattr(sys, "argv", ["convert", str(folder), "--outtype", "f16", "--outfile", str(out), *options])
            runpy.run_path(str(llama_cpp / "convert_hf_to_gguf.py"), run_name="__main__")
