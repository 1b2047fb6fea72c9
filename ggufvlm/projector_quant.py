"""A projector in another type: F32, F16, BF16 or Q8_0. Bit for bit what llama.cpp's own converter would write.

Only matrices that libmtmd multiplies with change. Convolutions, positions, norms, biases, what libmtmd transposes or
adds to something, and everything for sound keep their type, as in llama.cpp's converter and quantizer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ModelError
from ggufvlm.gguf_header import GGUFHeader, TensorInfo
from ggufvlm.gguf_writer import NewTensor, encode_value, read_pairs, read_tensor, replacing, write_gguf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

F32, F16, Q8_0, BF16 = 0, 1, 8, 30
TYPES = {"F32": F32, "F16": F16, "BF16": BF16, "Q8_0": Q8_0}
_FILE_TYPES = {F32: 0, F16: 1, Q8_0: 7, BF16: 32}  # enum llama_ftype
_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_BLOCK = 32
# tensor_allows_quantization of llama-quant.cpp and tensor_force_quant of the converters
_KEPT = (
    *("norm", "position_embd", "pos_embd", "rel_pos", "patch_embd", "patch_merger", "class_embd", "token_embd"),
    *("sam.neck", "sam.net_", "conv", "input_projection", "ffn_gate_inp", "codebook", "per_dim"),
)


def converted_type(name: str, info: TensorInfo, wanted: int) -> int:
    """The type that a tensor gets in a file of the type ``wanted``."""
    is_matrix = name.endswith(".weight") and len(info.shape) == 2 and info.ggml_type in _FILE_TYPES
    if not is_matrix or name.startswith(("a.", "mm.a.")) or any(part in name for part in _KEPT):
        return info.ggml_type
    if wanted == Q8_0 and info.shape[0] % _BLOCK:
        return F16 if info.ggml_type == F32 else info.ggml_type
    return wanted


def convert_projector(
    source: Path,
    header: GGUFHeader,
    target: Path,
    type_name: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``source`` with its matrices in the type ``type_name``, a key of :data:`TYPES`.

    Raises:
        ModelError: damaged, or a weight is too large for F16; or the target cannot be written.
    """
    wanted = TYPES[type_name]
    pairs = read_pairs(source, header)
    pairs["general.file_type"] = encode_value("uint32", _FILE_TYPES[wanted])
    if wanted == Q8_0:
        pairs.setdefault("general.quantization_version", encode_value("uint32", _QUANTIZATION_VERSION))

    def reader(name: str, info: TensorInfo, ggml_type: int) -> Callable[[], bytes | memoryview]:
        def data() -> bytes | memoryview:
            raw = read_tensor(source, header, info)
            return raw if ggml_type == info.ggml_type else _convert(f"{source.name}: {name}", raw, info, ggml_type)

        return data

    tensors = []
    for name, info in header.tensors.items():
        ggml_type = converted_type(name, info, wanted)
        tensors.append(NewTensor(name=name, shape=info.shape, ggml_type=ggml_type, data=reader(name, info, ggml_type)))
    with replacing(target) as partial, partial.open("wb") as file:
        write_gguf(file, pairs, tensors, progress=progress)


def _convert(where: str, raw: bytes, info: TensorInfo, ggml_type: int) -> memoryview:
    values = decode(raw, info.ggml_type)
    encoded = encode(values, ggml_type)
    if ggml_type == F16:
        import numpy as np

        if not np.isfinite(encoded.view(np.float16)).all() and np.isfinite(values).all():
            raise ModelError(f"{where} has weights too large for F16", hint="take BF16")
    return encoded.data


def decode(raw: bytes, ggml_type: int) -> NDArray[np.float32]:
    """Numbers of a tensor's data, flat."""
    import numpy as np

    if ggml_type == F32:
        return np.frombuffer(raw, "<f4")
    if ggml_type == F16:
        return np.frombuffer(raw, "<f2").astype(np.float32)
    if ggml_type == BF16:
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = np.frombuffer(raw, [("d", "<f2"), ("q", "i1", (_BLOCK,))])
    return (blocks["q"].astype(np.float32) * blocks["d"].astype(np.float32)[:, np.newaxis]).ravel()


def encode(values: NDArray[np.float32], ggml_type: int) -> NDArray[Any]:
    """A tensor's data from its numbers, which are whole rows; as an array of bytes."""
    import numpy as np

    if ggml_type == F32:
        return np.ascontiguousarray(values, "<f4").view(np.uint8)
    if ggml_type == F16:
        with np.errstate(over="ignore"):
            return values.astype("<f2").view(np.uint8)
    return _to_bf16(values) if ggml_type == BF16 else _to_q8_0(values)


def _to_bf16(values: NDArray[np.float32]) -> NDArray[Any]:
    import numpy as np

    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    quiet_nan = (bits & np.uint32(0xFFFF0000)) | np.uint32(64 << 16)
    bits = np.where((bits & np.uint32(0x7FFFFFFF)) > 0x7F800000, quiet_nan, bits)
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to the nearest, ties to even
    return rounded.astype("<u2").view(np.uint8)


def _to_q8_0(values: NDArray[np.float32]) -> NDArray[Any]:
    import numpy as np

    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, _BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        inverse = np.where(scale == 0, np.float32(0), np.float32(1) / scale)
    scaled = blocks * inverse
    size = np.abs(scaled)
    whole = np.floor(size)
    rounded = np.sign(scaled) * (whole + np.floor(2 * (size - whole)))  # roundf: halves away from zero
    result = np.empty(len(blocks), [("d", "<f2"), ("q", "i1", (_BLOCK,))])
    result["d"], result["q"] = scale[:, 0], rounded
    return result.view(np.uint8)
