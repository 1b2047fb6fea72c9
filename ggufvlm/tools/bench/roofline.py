"""How much a token reads and how much an image computes, from the files' headers."""

from __future__ import annotations

from pathlib import Path

from ggufvlm.gguf.header import GGUFHeader, TensorInfo, read_header


def decode_bytes(model: Path) -> int:
    """Bytes of weights that one token reads. The KV cache comes on top; with short prompts it does not count.

    An embedding matrix is read by the row unless it serves as the output matrix too. Of a mixture of experts those
    that are used count.

    Raises:
        ModelError: the header is damaged.
    """
    header = read_header(model)
    if not header.tensors or any(tensor.n_bytes is None for tensor in header.tensors.values()):
        return header.file_size
    has_output = "output.weight" in header.tensors
    share = _used_experts(header)
    total = 0.0
    for name, tensor in header.tensors.items():
        if name.startswith("token_embd.") and has_output:
            continue
        total += (tensor.n_bytes or 0) * (share if "_exps." in name else 1.0)
    return round(total)


def _used_experts(header: GGUFHeader) -> float:
    used = header.integer(f"{header.architecture}.expert_used_count")
    count = header.integer(f"{header.architecture}.expert_count")
    return used / count if used and count else 1.0


def encode_flop(mmproj: Path, n_patches: int, n_tokens: int) -> float:
    """Floating-point operations of encoding one image, an estimate.

    Each matrix of the tower's blocks is applied to every patch, each of the projector behind it to every token; in
    attention every patch looks at all others, which is too much for towers that look through windows.

    Raises:
        ModelError: the header is damaged.
    """
    header = read_header(mmproj)
    width = header.integer("clip.vision.embedding_length") or 0
    n_blocks = header.integer("clip.vision.block_count") or 0
    flop = 4.0 * n_blocks * n_patches**2 * width
    for name, tensor in header.tensors.items():
        if name.startswith("v.patch_embd.weight") or (name.startswith("v.blk.") and _is_matrix(name, tensor)):
            flop += 2.0 * n_patches * _count(tensor)
        elif name.startswith("mm.") and _is_matrix(name, tensor):
            flop += 2.0 * n_tokens * _count(tensor)
    return flop


def _is_matrix(name: str, tensor: TensorInfo) -> bool:
    return name.endswith(".weight") and len(tensor.shape) == 2


def _count(tensor: TensorInfo) -> int:
    count = 1
    for side in tensor.shape:
        count *= side
    return count
