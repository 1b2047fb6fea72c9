"""What the names of GGUF files say: quantization, part of a split model, and which model it is. Pure but for one look.

Every reader of such names in the package uses this one parser, so that they cannot come to differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.errors import ModelError

# as llama-quantize, Unsloth (UD-), the makers of int4 and of FP4 files spell them, in lower case
_QUANT_WORD = r"(?:ud[-_])?(?:bf16|fp?16|fp?32|(?:i?q|tq|int)\d[a-z0-9]*(?:_[a-z0-9]+)*|(?:mx|nv)fp4(?:_[a-z0-9]+)*)"
_QUANT = re.compile(rf"(?:^|[-._/])({_QUANT_WORD})(?=$|[-._/])")
_WHOLE_QUANT = re.compile(_QUANT_WORD)
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_COMMON_WORDS = frozenset({"", "mmproj", "projector", "model", "text", "ggml", "gguf"})


@dataclass(frozen=True, slots=True)
class SplitName:
    """The name of one part of a model that llama.cpp's gguf-split has cut.

    Attributes:
        stem: what all parts have in common.
        number: which part this is, from 1.
        count: how many there are.
    """

    stem: str
    number: int
    count: int

    def part(self, number: int) -> str:
        """The name of another part."""
        return f"{self.stem}-{number:05d}-of-{self.count:05d}.gguf"


def split_name(name: str) -> SplitName | None:
    """What a file name says about its part of a split model; None if it is no such name.

    >>> split_name("model-Q8_0-00002-of-00003.gguf")
    SplitName(stem='model-Q8_0', number=2, count=3)
    """
    found = _SPLIT.fullmatch(name)
    return SplitName(found["stem"], int(found["number"]), int(found["count"])) if found else None


def split_parts(path: Path) -> list[Path]:
    """All files of a model split by llama.cpp's gguf-split, first to last; ``[path]`` for a model in one file.

    Raises:
        ModelError: ``path`` is not the first part, or parts are missing beside it.
    """
    name = split_name(path.name)
    if name is None:
        return [path]
    count = max(1, name.count)
    parts = [path.with_name(name.part(number)) for number in range(1, count + 1)]
    if name.number != 1:
        raise ModelError(
            f"{path.name} is part {name.number} of a split model: the first is wanted", hint=f"-m {parts[0]}"
        )
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{path.name}: {len(missing)} of {count} parts missing: {missing[0]}{more}",
            hint="all parts of a split model must lie in one folder",
        )
    return parts


def quant_of(name: str) -> str | None:
    """The quantization that a file name tells: the last word that looks like one, in capitals.

    >>> quant_of("mmproj-Model-BF16.gguf"), quant_of("model.Q4_K_M.gguf"), quant_of("model.gguf")
    ('BF16', 'Q4_K_M', None)
    """
    stem = _stem(name)
    found: list[str] = _QUANT.findall(stem.rpartition("/")[2]) or _QUANT.findall(stem)
    return _spelled(found[-1]) if found else None


def parse_quant(text: str) -> str | None:
    """A word as a quantization, in capitals; None if it is none.

    >>> parse_quant("ud-q4_k_xl"), parse_quant("fp16"), parse_quant("8080")
    ('UD-Q4_K_XL', 'F16', None)
    """
    return _spelled(text.lower()) if _WHOLE_QUANT.fullmatch(text.lower()) else None


def model_words(name: str) -> tuple[str, ...]:
    """The words that tell which model a file is of: without folder, quantization, part number and common words.

    >>> model_words("mmproj-Qwen2-VL-2B-Instruct-f16.gguf")
    ('qwen2', 'vl', '2b', 'instruct')
    >>> model_words("mmproj-model-F16.gguf")
    ()
    """
    stem = _QUANT.sub("", _stem(name).rpartition("/")[2])
    return tuple(word for word in re.split(r"[^a-z0-9]+", stem) if word not in _COMMON_WORDS)


def model_key(name: str) -> str:
    """The same words as one, for comparing names: ``qwen2vl2binstruct``; empty where a name tells no model."""
    return "".join(model_words(name))


def _stem(name: str) -> str:
    part = split_name(name)
    return (part.stem if part else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)).lower()


def _spelled(word: str) -> str:
    return word.upper().replace("FP16", "F16").replace("FP32", "F32").replace("UD_", "UD-")
