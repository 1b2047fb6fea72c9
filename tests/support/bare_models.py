"""Small models whose file carries no chat template."""

from __future__ import annotations

from pathlib import Path

from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, read_pairs, write_gguf

TEMPLATE = "tokenizer.chat_template"


def without_template(source: Path, target: Path) -> Path:
    """A copy of a language model without its template."""
    header = read_header(source)
    pairs = {key: value for key, value in read_pairs(source, header).items() if key != TEMPLATE}
    with target.open("wb") as file:
        write_gguf(file, pairs, copied(source, header))
    return target
