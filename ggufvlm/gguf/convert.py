"""A projector in another type: F32, F16, BF16 or Q8_0. Bit for bit what llama.cpp's own converter would write.

Only matrices that libmtmd multiplies with change. Convolutions, positions, norms, biases, what libmtmd transposes or
adds to something, and everything for sound keep their type, as in llama.cpp's converter and quantizer.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ggufvlm.errors import ModelError
from ggufvlm.files import replacing
from ggufvlm.gguf.header import GGUFHeader, TensorInfo
from ggufvlm.gguf.writer import NewTensor, encode_value, read_pairs, read_tensor, write_gguf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

F32, F16, Q8_0, BF16 = 0, 1, 8, 30
TYPES = {"F32": F32, "F16": F16, "BF16": BF16, "Q8_0": Q8_0}
_FILE_TYPES = {F32: 0, F16: 1, Q8_0: 7, BF16: 32}  # enum llama_ftype
_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_BLOCK = 32
_BYTES_PER_BLOCK = {F32: 128, F16: 64, BF16: 64, Q8_0: 34}
_PIECE = 1 << 13  # blocks that are converted at a time
_AHEAD = 4  # tensors
# tensor_allows_quantization of llama-quant.cpp and tensor_force_quant of the converters
_KEPT = (
    *("norm", "position_embd", "pos_embd", "rel_pos", "patch_embd", "patch_merger", "class_embd", "token_embd"),
    *("sam.neck", "sam.net_", "conv", "input_projection", "ffn_gate_inp", "codebook", "per_dim"),
)


def converted_type(name: str, info: TensorInfo, wanted: int) -> int:
    """The type that a tensor gets in a file of the type ``wanted``.

    Args:
        name: the tensor's; it tells what libmtmd does with it.
        info: its shape and its type.
        wanted: ggml's number of the type, one of the values of :data:`TYPES`.
    """
    if not _is_matrix(name, info):
        return info.ggml_type
    if wanted == Q8_0 and info.shape[0] % _BLOCK:
        return F16 if info.ggml_type == F32 else info.ggml_type
    return wanted


def _is_matrix(name: str, info: TensorInfo) -> bool:
    """Whether it is a matrix of a type that can be read here, with which libmtmd does nothing but multiply."""
    is_matrix = name.endswith(".weight") and len(info.shape) == 2 and info.ggml_type in _FILE_TYPES
    return is_matrix and not name.startswith(("a.", "mm.a.")) and not any(part in name for part in _KEPT)


def matrix_type(header: GGUFHeader) -> int | None:
    """The type that most of a projector's matrices have, by bytes; None if it has none that could change."""
    n_bytes: Counter[int] = Counter()
    for name, info in header.tensors.items():
        if _is_matrix(name, info):
            n_bytes[info.ggml_type] += info.n_bytes or 0
    return next((ggml_type for ggml_type, _ in n_bytes.most_common(1)), None)


def converted_header(header: GGUFHeader, type_name: str) -> GGUFHeader:
    """The header with the types that :func:`convert_projector` gives; offsets stay those of the source."""
    wanted = TYPES[type_name]
    tensors = {
        name: replace(info, ggml_type=converted_type(name, info, wanted)) for name, info in header.tensors.items()
    }
    return replace(header, tensors=tensors)


def convert_projector(
    source: Path,
    header: GGUFHeader,
    target: Path,
    type_name: str,
    n_threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a projector anew with its matrices in another type.

    Args:
        source: the projector as it is.
        header: its whole header.
        target: the file to write; it appears when all of it is written.
        type_name: a key of :data:`TYPES`.
        n_threads: how many tensors are converted at the same time.
        progress: gets the number of written tensors and of all.

    Raises:
        ModelError: damaged, or a weight is too large for F16; or the target cannot be written.
    """
    with replacing(target) as partial, partial.open("wb") as file:
        write_converted(file, source, header, type_name, n_threads, progress)


def write_converted(
    file: BinaryIO,
    source: Path,
    header: GGUFHeader,
    type_name: str,
    n_threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """As :func:`convert_projector`, whose other arguments these are, into the open ``file``.

    Raises:
        ModelError: damaged, or a weight is too large for F16.
        OSError: the file cannot be written.
    """
    wanted = TYPES[type_name]
    pairs = read_pairs(source, header)
    pairs["general.file_type"] = encode_value("uint32", _FILE_TYPES[wanted])
    if wanted == Q8_0:
        pairs.setdefault("general.quantization_version", encode_value("uint32", _QUANTIZATION_VERSION))

    def reader(name: str, info: TensorInfo, ggml_type: int) -> Callable[[], bytes | memoryview]:
        def data() -> bytes | memoryview:
            raw = read_tensor(source, header, info)
            if ggml_type == info.ggml_type:
                return raw
            return convert(raw, info.ggml_type, ggml_type, f"{source.name}: {name}")

        return data

    tensors = []
    for name, info in header.tensors.items():
        ggml_type = converted_type(name, info, wanted)
        tensors.append(NewTensor(name=name, shape=info.shape, ggml_type=ggml_type, data=reader(name, info, ggml_type)))
    with ThreadPoolExecutor(n_threads, "ggufvlm-convert") as pool:
        try:
            write_gguf(file, pairs, _computed_ahead(tensors, pool), progress=progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _computed_ahead(tensors: Sequence[NewTensor], pool: ThreadPoolExecutor) -> list[NewTensor]:
    """The tensors, written in this order, while threads convert some of the next ones: NumPy releases the GIL."""
    rest = iter(tensors)
    pending = deque(pool.submit(tensor.data) for tensor in islice(rest, _AHEAD))

    def take() -> bytes | memoryview:
        data = pending.popleft().result()
        pending.extend(pool.submit(tensor.data) for tensor in islice(rest, 1))
        return data

    return [replace(tensor, data=take) for tensor in tensors]


def convert(raw: bytes, old_type: int, new_type: int, name: str = "a tensor") -> memoryview:
    """A tensor's data in another type; in pieces, which stay in the processor's cache.

    Args:
        raw: the data, whole blocks of the old type.
        old_type: ggml's number of the type it is in.
        new_type: ggml's number of the type it is to have.
        name: what to call the tensor in an error.

    Returns:
        The bytes of the same numbers in the new type.

    Raises:
        ModelError: a weight is too large for F16.
    """
    import numpy as np

    if (old_type, new_type) == (F16, BF16):
        return _f16_to_bf16(raw)
    n_old, n_new = _BYTES_PER_BLOCK[old_type], _BYTES_PER_BLOCK[new_type]
    n_blocks = len(raw) // n_old
    result = np.empty(n_blocks * n_new, np.uint8)
    for start in range(0, n_blocks, _PIECE):
        stop = min(start + _PIECE, n_blocks)
        values = decode(raw[start * n_old : stop * n_old], old_type)
        encoded = encode(values, new_type)
        if new_type == F16 and not np.isfinite(encoded.view(np.float16)).all() and np.isfinite(values).all():
            raise ModelError(f"{name} has weights too large for F16", hint="take BF16")
        result[start * n_new : stop * n_new] = encoded
    return result.data


def _f16_to_bf16(raw: bytes) -> memoryview:
    """F16 as BF16, looked up in a table: three times as fast as by way of F32."""
    import numpy as np

    table, numbers = _bf16_of_each_f16(), np.frombuffer(raw, "<u2")
    result = np.empty(len(numbers), "<u2")
    for start in range(0, len(numbers), _BLOCK * _PIECE):
        piece = slice(start, start + _BLOCK * _PIECE)
        np.take(table, numbers[piece], out=result[piece], mode="wrap")  # other modes make a copy of ``out``
    return result.view(np.uint8).data


@cache
def _bf16_of_each_f16() -> NDArray[Any]:
    """A table of the BF16 bits that belong to each of F16's 65536 patterns: uint16 [65536]."""
    import numpy as np

    with np.errstate(invalid="ignore"):  # half of what a NaN can be makes some processors complain
        numbers = decode(np.arange(1 << 16, dtype="<u2").tobytes(), F16)
    return encode(numbers, BF16).view("<u2")


def decode(raw: bytes, ggml_type: int) -> NDArray[np.float32]:
    """The numbers of a tensor's data: float32 [n_elements]."""
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
    """A tensor's data, uint8 [n_bytes], from its numbers, float32 [n_elements], which are whole rows."""
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
