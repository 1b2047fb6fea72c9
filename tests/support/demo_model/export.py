"""Write trained weights as two GGUF files: the language model and its projector.

python -m tests.support.demo_model.export run ggufvlm/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

from tests.support.demo_model.rows import MEAN, MERGE, PATCH, STD
from tests.support.demo_model.weights import (
    DEPTH,
    END,
    MODEL,
    PROJECTOR,
    STOP,
    VISION_DEPTH,
    WIDTH,
    State,
    tensors,
    vocabulary,
)

_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
_START = Path(__file__).parent / "start"


def write_model(path: Path, state: State, tokens: list[str], merges: list[str]) -> None:
    """The language model, its matrices in Q8_0."""
    writer = gguf.GGUFWriter(str(path), "qwen2vl")
    writer.add_name("tiny-qwen2vl")
    writer.add_license("apache-2.0")
    writer.add_description("Tiny model trained on synthetic shapes and words, for tests and offline demos.")
    writer.add_size_label(f"{sum(array.size for array in tensors(state).values()) / 1e6:.1f}M")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token.startswith("<|") else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(STOP))
    writer.add_pad_token_id(tokens.index(END))
    writer.add_bos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(DEPTH)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_sections([8, 12, 12, 0])
    _put(writer, {n: a for n, a in tensors(state).items() if not n.startswith(("v.", "mm."))}, Type.Q8_0)


def write_projector(path: Path, state: State) -> None:
    """The vision tower, its matrices in F16."""
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_name("tiny-qwen2vl projector")
    writer.add_license("apache-2.0")
    writer.add_type("mmproj")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(True)
    writer.add_vision_image_mean([float(x) for x in MEAN])
    writer.add_vision_image_std([float(x) for x in STD])
    writer.add_vision_patch_size(PATCH)
    writer.add_clip_projector_type("qwen2vl_merger")
    writer.add_vision_image_size(224)
    writer.add_vision_embedding_length(128)
    writer.add_vision_feed_forward_length(512)
    writer.add_vision_block_count(VISION_DEPTH)
    writer.add_vision_head_count(4)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_spatial_merge_size(MERGE)
    _put(writer, {n: a for n, a in tensors(state).items() if n.startswith(("v.", "mm."))}, Type.F16)


def _put(writer: gguf.GGUFWriter, arrays: dict[str, np.ndarray], kind: Type) -> None:
    for name, array in arrays.items():
        if array.ndim < 2:
            writer.add_tensor(name, array.astype(np.float32))
        elif kind is Type.F16:
            writer.add_tensor(name, array.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with model.pt")
    parser.add_argument("out", type=Path, help="folder for the two files")
    args = parser.parse_args()
    state = torch.load(args.run / "model.pt", map_location="cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary(_START)
    write_model(args.out / MODEL, state, tokens, merges)
    write_projector(args.out / PROJECTOR, state)


if __name__ == "__main__":
    main()
