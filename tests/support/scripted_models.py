"""Models that say what a test wants: real llama.cpp, a real tokenizer, any chat template, a known answer.

Each token of the script is a state: its embedding is a unit vector of its own, one block without weights hands it on,
and the output row of the token that follows is that vector. Tokens that are not in the script lead to its start, so it
is played behind any prompt; control tokens of the script are real ones, and lead on where they are first used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import ggufvlm
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import NewTensor, encode_value, read_pairs, write_gguf

DEMO = Path(ggufvlm.__file__).parent / "demo"
PROJECTOR = DEMO / "mmproj-tiny-qwen2vl-F16.gguf"
_MODEL = DEMO / "tiny-qwen2vl-Q8_0.gguf"
_WIDTH, _N_FF, _N_HEAD, _N_HEAD_KV = 256, 64, 4, 2
_LOGIT = 8.0
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_SHORTEST = 3  # characters of a token


def write_script(
    path: Path,
    script: str,
    *,
    template: str,
    control: Sequence[str] = (),
    added: Sequence[str] = (),
    end: str = "<|im_end|>",
) -> Path:
    """A language model that fits the built-in projector, and answers everything with a script.

    Args:
        path: where to write it.
        script: what it says.
        template: its chat template.
        control: control tokens that it has besides those of the built-in model; they may stand in the script.
        added: tokens of that kind that are text, as ``<think>`` is for many models.
        end: the token that ends its answers.
    """
    header = read_header(_MODEL)
    tokens = [str(token) for token in _listed(header.metadata["tokenizer.ggml.tokens"])]
    types = [int(str(kind)) for kind in _listed(header.metadata["tokenizer.ggml.token_type"])]
    for texts, kind in ((control, _CONTROL), (added, _USER_DEFINED)):
        new = [text for text in texts if text not in tokens]
        tokens, types = tokens + new, types + [kind] * len(new)
    chain = _chain(script, tokens, types, {*control, *added})
    chain.append(tokens.index(end))
    if len(chain) >= _WIDTH or len(set(chain)) < len(chain):
        raise ValueError(f"a script of {len(chain)} tokens, {len(set(chain))} of them distinct")
    embeddings, outputs = (np.zeros((len(tokens), _WIDTH), np.float32) for _ in range(2))
    embeddings[:, 0] = 1
    for state, token in enumerate(chain):
        outputs[token, state] = _LOGIT
        if token != chain[-1]:
            embeddings[token] = np.eye(_WIDTH)[state + 1]
    pairs = read_pairs(_MODEL, header)
    pairs |= {
        "tokenizer.ggml.tokens": encode_value("[string]", tokens),
        "tokenizer.ggml.token_type": encode_value("[int32]", types),
        "tokenizer.ggml.eos_token_id": encode_value("uint32", tokens.index(end)),
        "tokenizer.chat_template": encode_value("string", template),
        "general.name": encode_value("string", path.stem),
    }
    numbers = {"block_count": 1, "feed_forward_length": _N_FF, "vocab_size": len(tokens)}
    pairs |= {f"qwen2vl.{key}": encode_value("uint32", number) for key, number in numbers.items()}
    arrays = {"token_embd.weight": embeddings, "output.weight": outputs, **_silent_block()}
    with path.open("wb") as file:
        write_gguf(file, pairs, [_tensor(name, array) for name, array in arrays.items()])
    return path


def _chain(script: str, tokens: list[str], types: list[int], marks: set[str]) -> list[int]:
    """The script in tokens, each of which is new, but for the marks; ``tokens`` and ``types`` grow."""
    pattern = "|".join(sorted(map(re.escape, marks), key=len, reverse=True))
    chain = []
    for piece in re.split(f"({pattern})", script) if marks else [script]:
        if piece in marks:
            chain.append(tokens.index(piece))
            continue
        for text in _distinct(piece, set(tokens)):
            chain.append(len(tokens))
            tokens.append(text)
            types.append(_NORMAL)
    return chain


def _distinct(text: str, known: set[str]) -> list[str]:
    """A text in pieces of which none is there yet, in the letters that stand for bytes in a vocabulary."""
    pieces: list[str] = []
    begin = 0
    while begin < len(text):
        length = _SHORTEST
        while (piece := _letters(text[begin : begin + length])) in known and begin + length < len(text):
            length += 1
        begin += length
        if piece in known:  # the end of the text: with what stands before it, it is longer than any other
            piece = pieces.pop() + piece
        known.add(piece)
        pieces.append(piece)
    return pieces


def _letters(text: str) -> str:
    """Bytes as GPT-2's byte-level vocabulary writes them (``bytes_to_unicode``)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    return "".join(letters[byte] for byte in text.encode())


def _silent_block() -> dict[str, np.ndarray]:
    """A block that adds nothing."""
    n_kv = _WIDTH // _N_HEAD * _N_HEAD_KV
    shapes = {
        "attn_q": (_WIDTH, _WIDTH),
        "attn_k": (n_kv, _WIDTH),
        "attn_v": (n_kv, _WIDTH),
        "attn_output": (_WIDTH, _WIDTH),
        "ffn_gate": (_N_FF, _WIDTH),
        "ffn_up": (_N_FF, _WIDTH),
        "ffn_down": (_WIDTH, _N_FF),
    }
    arrays = {f"blk.0.{name}.weight": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    arrays |= {f"blk.0.{name}.bias": np.zeros(shapes[name][0], np.float32) for name in ("attn_q", "attn_k", "attn_v")}
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    return arrays | {f"{name}.weight": np.ones(_WIDTH, np.float32) for name in norms}


def _tensor(name: str, array: np.ndarray) -> NewTensor:
    content = array.astype(np.float32).tobytes()
    return NewTensor(name=name, shape=array.shape[::-1], ggml_type=0, data=lambda: content)


def _listed(value: object) -> Sequence[object]:
    assert isinstance(value, tuple)
    return value
