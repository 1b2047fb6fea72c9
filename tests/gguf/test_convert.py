from __future__ import annotations

import struct

import numpy as np
import pytest

from ggufvlm.gguf.convert import BF16, F16, F32, Q8_0, converted_type, decode, encode
from ggufvlm.gguf.header import TensorInfo

# Rows of 32 numbers and what gguf-py 0.19 (and so llama.cpp's converter) makes of them. Halves round away from zero,
# ties of BF16 go to the even one, a row of zeros has the scale 0.
_RAMP = np.linspace(-1.27, 1.2, 32, dtype=np.float32)
_HALVES = np.array([127, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 63.5, -63.5, *[0.25] * 23], np.float32)
_KNOWN_Q8_0 = {
    "ramp": (_RAMP, "1f2181899199a1a9b1b9c1c9d1d9e1e9f1f900081018202830384048505860687078"),
    "halves": (_HALVES, "003c7f01ff02fe03fd40c0" + 23 * "00"),
    "zeros": (np.zeros(32, np.float32), 34 * "00"),
}


@pytest.mark.parametrize("name", _KNOWN_Q8_0)
def test_q8_0_is_what_the_converter_writes(name: str) -> None:
    values, expected = _KNOWN_Q8_0[name]
    assert encode(values, Q8_0).tobytes().hex() == expected


def test_q8_0_agrees_with_the_definition_block_by_block() -> None:
    """Written down once more, one number at a time, as quantize_row_q8_0_ref of ggml-quants.c does it."""
    values = np.random.default_rng(5).normal(0, 0.05, 40 * 32).astype(np.float32)
    expected = b""
    for block in values.reshape(-1, 32):
        scale = np.float32(max(abs(block)) / np.float32(127))
        inverse = np.float32(1) / scale
        scaled = [float(np.float32(x * inverse)) for x in block]
        whole = [int(abs(x) + 0.5) * (1 if x >= 0 else -1) for x in scaled]
        expected += np.float16(scale).tobytes() + struct.pack("32b", *whole)
    assert encode(values, Q8_0).tobytes() == expected


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),  # exactly between 1 and the next one: to the even
        (1.01171875, 0x3F82),  # between two, the even one is above
        (1.0040, 0x3F81),
        (-3.389e38, 0xFF7F),
        (float("inf"), 0x7F80),
        (float("nan"), 0x7FC0),
    ],
)
def test_bf16_rounds_to_the_nearest_and_ties_to_the_even_one(number: float, bits: int) -> None:
    assert int(encode(np.array([number], np.float32), BF16).view(np.uint16)[0]) == bits


@pytest.mark.parametrize("ggml_type", [F32, F16, BF16, Q8_0])
def test_what_was_encoded_is_decoded_as_it_was(ggml_type: int) -> None:
    values = np.random.default_rng(6).normal(0, 1, 256).astype(np.float32)
    once = decode(encode(values, ggml_type).tobytes(), ggml_type)
    assert np.abs(once - values).max() < {F32: 1e-9, F16: 2e-3, BF16: 2e-2, Q8_0: 2e-2}[ggml_type]
    assert np.array_equal(decode(encode(once, ggml_type).tobytes(), ggml_type), once) or ggml_type == Q8_0


def _info(*shape: int, ggml_type: int = F16) -> TensorInfo:
    return TensorInfo(shape=shape, ggml_type=ggml_type, offset=0)


@pytest.mark.parametrize(
    "name",
    [
        "v.patch_embd.weight",
        "v.position_embd.weight",
        "v.blk.0.ln1.bias",
        "mm.input_projection.weight",  # libmtmd transposes it
        "mm.patch_merger.weight",
        "mm.a.mlp.1.weight",
        "v.blk.0.conv_dw.weight",
        "resampler.query",
    ],
)
def test_what_is_not_a_plain_matrix_is_kept(name: str) -> None:
    assert converted_type(name, _info(64, 64), Q8_0) == F16


def test_matrices_change_and_convolutions_do_not() -> None:
    assert converted_type("v.blk.0.ffn_up.weight", _info(64, 256), Q8_0) == Q8_0
    assert converted_type("v.blk.0.ffn_up.weight", _info(64, 256, ggml_type=Q8_0), BF16) == BF16
    assert converted_type("mm.0.weight", _info(2, 2, 64, 64), Q8_0) == F16
    assert converted_type("v.blk.0.ls1.weight", _info(64, ggml_type=F32), BF16) == F32


def test_rows_that_are_no_multiple_of_32_stay_out_of_q8_0() -> None:
    assert converted_type("v.blk.0.ffn_up.weight", _info(72, 256), Q8_0) == F16
    assert converted_type("v.blk.0.ffn_up.weight", _info(72, 256, ggml_type=F32), Q8_0) == F16
    assert converted_type("v.blk.0.ffn_up.weight", _info(72, 256), BF16) == BF16
