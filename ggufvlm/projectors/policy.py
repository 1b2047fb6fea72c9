"""Which type of the projector to load here: as published, or derived in BF16 or Q8_0. Pure: decides, touches nothing.

* BF16 where the library has instructions for it and a trial was won by a clear margin
  (:mod:`ggufvlm.projectors.bf16_trial`): an image then takes about 0.7 of the time.
* Q8_0, which is slower, only where the projector as published does not fit into memory.
* Else the file as it was published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ggufvlm.gguf.convert import F16, F32
from ggufvlm.hardware.cpu import has_fast_bf16

DerivedType = Literal["BF16", "Q8_0"]

VARIABLE = "GGUFVLM_PROJECTOR"
"""Set to ``original``: projectors are loaded as they were published, whatever would be faster or fit."""
MIN_SIZE = 50 << 20
"""Bytes below which a projector is left alone: it is encoded within a blink, in any type."""
MIN_SPEEDUP = 1 / 0.9
"""What makes a second copy on the disk worth it."""
MIN_MEAN_COSINE, MIN_COSINE = 0.999, 0.99
"""How much the derived projector's rows must look like the original's: on average, and each.

Measured with trained towers of 4 blocks and a random one of 32: BF16 0.99998 and more, its worst row 0.99997; Q8_0
0.9998, its worst row 0.9996. Q4_0, which can be seen in answers, has 0.992, and a projector that is wrong below 0.9.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What there is to go by.

    Attributes:
        size: bytes of the projector's file.
        matrix_type: ggml type of most of its matrices; None if none could change.
        on_cpu: it will be computed by the CPU.
        does_not_fit: as published it does not fit into memory, and in Q8_0 it would.
        features: the loaded library's, as from ``cpu_features``.
    """

    size: int
    matrix_type: int | None
    on_cpu: bool
    does_not_fit: bool
    features: Mapping[str, str]


def choose(situation: Situation, setting: str = "") -> DerivedType | None:
    """The type to derive; None is the file as published. BF16 is on the condition that it :func:`wins`.

    Args:
        situation: what there is to go by.
        setting: the value of :data:`VARIABLE`.
    """
    if wants_original(setting) or situation.size < MIN_SIZE or situation.matrix_type is None:
        return None
    if situation.does_not_fit:
        return "Q8_0"
    is_convertible = situation.on_cpu and situation.matrix_type in (F16, F32)
    return "BF16" if is_convertible and has_fast_bf16(situation.features) else None


def wants_original(setting: str) -> bool:
    """Whether that value of :data:`VARIABLE` forbids derived projectors."""
    return setting.strip().lower() == "original"


def wins(speedup: float | None) -> bool:
    """Whether a measured speedup is worth a derived file; None: not measured."""
    return speedup is not None and speedup >= MIN_SPEEDUP


def is_alike(mean: float, minimum: float) -> bool:
    """Whether cosines between rows of the original's and the derived one's output are good enough; not for NaN."""
    return mean >= MIN_MEAN_COSINE and minimum >= MIN_COSINE


def text_of(derived: DerivedType) -> str:
    """The human-readable name of a derived type, with the reason why it is used."""
    return {"BF16": "BF16 (derived, faster here)", "Q8_0": "Q8_0 (derived, fits into memory)"}[derived]
