"""The families, each as small as its architecture allows. Needs torch and transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers as hf

from tests.parity.llava_projector import write_projector
from tests.parity.reference import LEAST_MARGIN
from tests.parity.vocabulary import make_tokenizer

_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_QWEN_VIDEO = (*_QWEN, "<|video_pad|>")
WIDTH = 64


@dataclass(frozen=True)
class Built:
    """A model with random values, its processor, the ids of the tokens that the projector fills."""

    model: Any
    processor: Any
    image_tokens: list[int]


@dataclass(frozen=True)
class Family:
    """How to make a model.

    Attributes:
        build: takes the chat template.
        seed: where the search for weights with clear answers begins; it ended there.
        least_margin: see reference.py.
        renamed: beginnings of tensor names that published checkpoints, and so the converter, call otherwise than
            Transformers does now.
        has_template: whether published GGUFs carry the template.
        write_projector: in place of the converter.
        disturb: a known small difference of images, which shall not decide the answers.
    """

    name: str
    build: Callable[[str], Built]
    seed: int = 0
    least_margin: float = LEAST_MARGIN
    renamed: tuple[tuple[str, str], ...] = ()
    has_template: bool = True
    write_projector: Callable[[Any, Path], None] | None = None
    disturb: Callable[[Any], Any] | None = None

    @property
    def template(self) -> str:
        return (Path(__file__).parent / "templates" / f"{self.name}.jinja").read_text()


def _text(tokenizer: Any, **changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **changes,
    }


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {"image_token_id": "image_pad", "video_token_id": "video_pad"}
    names |= {"vision_start_token_id": "vision_start", "vision_end_token_id": "vision_end"}
    return {key: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()}


def _qwen2_5_vl(template: str) -> Built:
    tokenizer = make_tokenizer(_QWEN_VIDEO, eos="<|im_end|>")
    ids = _qwen_ids(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    vision = {"depth": 4, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": WIDTH}
    vision |= {"patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1, 3]}
    config = hf.Qwen2_5_VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope), vision_config=vision, tie_word_embeddings=False, **ids
    )
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessorPil(),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(),
        chat_template=template,
    )
    return Built(hf.Qwen2_5_VLForConditionalGeneration(config), processor, [ids["image_token_id"]])


def _qwen2_vl(template: str) -> Built:
    tokenizer = make_tokenizer(_QWEN_VIDEO, eos="<|im_end|>")
    ids = _qwen_ids(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    vision = {"depth": 3, "embed_dim": 32, "hidden_size": WIDTH, "mlp_ratio": 2, "num_heads": 2, "patch_size": 14}
    config = hf.Qwen2VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope), vision_config=vision, tie_word_embeddings=False, **ids
    )
    processor = hf.Qwen2VLProcessor(
        image_processor=hf.Qwen2VLImageProcessorPil(),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(),
        chat_template=template,
    )
    return Built(hf.Qwen2VLForConditionalGeneration(config), processor, [ids["image_token_id"]])


def _qwen3_vl(template: str) -> Built:
    tokenizer = make_tokenizer(_QWEN_VIDEO, eos="<|im_end|>")
    ids = _qwen_ids(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [3, 3, 2], "mrope_interleaved": True}
    vision = {"depth": 4, "hidden_size": 24, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": WIDTH}
    vision |= {"patch_size": 16, "num_position_embeddings": 256, "deepstack_visual_indexes": [0, 2]}
    config = hf.Qwen3VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope, head_dim=16, num_hidden_layers=3),
        vision_config=vision,
        tie_word_embeddings=False,
        **ids,
    )
    half = [0.5, 0.5, 0.5]
    pixels = {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}
    images = hf.Qwen2VLImageProcessorPil(patch_size=16, size=pixels, image_mean=half, image_std=half)
    processor = hf.Qwen3VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(),
        chat_template=template,
    )
    return Built(hf.Qwen3VLForConditionalGeneration(config), processor, [ids["image_token_id"]])


def _gemma3(template: str) -> Built:
    special = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>")
    tokenizer = make_tokenizer((*special, "<image_soft_token>"), eos="<end_of_turn>", bos="<bos>")
    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    for key, token in names.items():
        setattr(tokenizer, key, token)
        setattr(tokenizer, f"{key}_id", tokenizer.convert_tokens_to_ids(token))
    # every sixth layer looks at all tokens; the last is the first of these
    text = _text(
        tokenizer,
        num_hidden_layers=6,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=512,
    )
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"image_size": 896, "patch_size": 28, "vision_use_head": False, "model_type": "siglip_vision_model"}
    config = hf.Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=64,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    images = hf.Gemma3ImageProcessorPil(size={"height": 896, "width": 896})
    images.image_seq_length = 64  # the converter reads it there
    processor = hf.Gemma3Processor(
        image_processor=images, tokenizer=tokenizer, chat_template=template, image_seq_length=64
    )
    return Built(hf.Gemma3ForConditionalGeneration(config), processor, [tokenizer.image_token_id])


def _smolvlm(template: str) -> Built:
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    special = ("<|endoftext|>", "<|im_start|>", "<fake_token_around_image>", "<global-img>", "<image>", *rows)
    tokenizer = make_tokenizer((*special, "<end_of_utterance>"), eos="<end_of_utterance>")
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = {
        "model_type": "llama",
        "architectures": ["VLlama3ForCausalLM"],
        "rms_norm_eps": 1e-5,
        "head_dim": 16,
        **_text(tokenizer),
    }
    config = hf.SmolVLMConfig(
        text_config=text,
        vision_config={**vision, "image_size": 64, "patch_size": 8},
        scale_factor=2,
        image_token_id=image_token_id,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = hf.SmolVLMImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    processor = hf.SmolVLMProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=hf.SmolVLMVideoProcessor(),
        image_seq_len=16,
        chat_template=template,
    )
    return Built(hf.SmolVLMForConditionalGeneration(config), processor, [image_token_id])


def _internvl(template: str) -> Built:
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    tokenizer = make_tokenizer(special, eos="<|im_end|>")
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    for key, token in {**names, "video_token": "<video>"}.items():
        setattr(tokenizer, key, token)
        setattr(tokenizer, f"{key}_id", tokenizer.convert_tokens_to_ids(token))
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    vision |= {"image_size": 448, "patch_size": 28, "attention_bias": True, "architectures": ["InternVisionModel"]}
    config = hf.InternVLConfig(
        text_config={"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **_text(tokenizer)},
        vision_config=vision,
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=64,
        tie_word_embeddings=False,
    )
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}),
        tokenizer=tokenizer,
        video_processor=hf.InternVLVideoProcessor(),
        image_seq_length=64,
        chat_template=template,
    )
    return Built(hf.InternVLForConditionalGeneration(config), processor, [tokenizer.context_image_token_id])


def _llava(template: str) -> Built:
    tokenizer = make_tokenizer(("</s>", "<image>"), eos="</s>")
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
    vision |= {"image_size": 112, "patch_size": 14, "projection_dim": 32, "model_type": "clip_vision_model"}
    config = hf.LlavaConfig(
        text_config={"model_type": "llama", "head_dim": 16, **_text(tokenizer)},
        vision_config=vision,
        image_token_index=image_token_id,
        image_seq_length=64,
        tie_word_embeddings=False,
    )
    square = {"height": 112, "width": 112}
    images = hf.LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": 112}, crop_size=square)
    processor = hf.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return Built(hf.LlavaForConditionalGeneration(config), processor, [image_token_id])


def _pixtral(template: str) -> Built:
    special = ("<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
    tokenizer = make_tokenizer(special, eos="</s>", bos="<s>")
    image_tokens = tokenizer.convert_tokens_to_ids(["[IMG]", "[IMG_BREAK]"])
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"image_size": 1024, "patch_size": 16, "hidden_act": "silu", "model_type": "pixtral"}
    vision |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    config = hf.LlavaConfig(
        text_config={"model_type": "mistral", "head_dim": 16, "sliding_window": None, **_text(tokenizer)},
        vision_config=vision,
        image_token_index=image_tokens[0],
        image_seq_length=1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        spatial_merge_size=1,
        tie_word_embeddings=False,
    )
    processor = hf.PixtralProcessor(
        image_processor=hf.PixtralImageProcessorPil(), tokenizer=tokenizer, patch_size=16, chat_template=template
    )
    return Built(hf.LlavaForConditionalGeneration(config), processor, image_tokens)


def _lfm2_vl(template: str) -> Built:
    rows = [f"<|img_row_{row}_col_{column}|>" for row in (1, 2) for column in (1, 2)]
    special = ("<|startoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<|image_start|>", "<|image_end|>")
    tokenizer = make_tokenizer((*special, "<|img_thumbnail|>", *rows), eos="<|im_end|>", bos="<|startoftext|>")
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"num_patches": 256, "patch_size": 16, "vision_use_head": False, "model_type": "siglip2_vision_model"}
    text = _text(tokenizer, num_hidden_layers=4, layer_types=["conv", "full_attention", "conv", "full_attention"])
    text |= {"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], "block_auto_adjust_ff_dim": False}
    config = hf.Lfm2VlConfig(
        text_config={**text, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        vision_config=vision,
        image_token_id=image_token_id,
        projector_hidden_size=64,
    )
    processor = hf.Lfm2VlProcessor(
        image_processor=hf.Lfm2VlImageProcessor(), tokenizer=tokenizer, chat_template=template
    )
    return Built(hf.Lfm2VlForConditionalGeneration(config), processor, [image_token_id])


def _last_patch(rows: Any) -> Any:
    """The repair of the class token puts the last patch's left neighbour in its place."""
    rows = rows.clone().view(-1, 64, rows.shape[-1])
    rows[:, -1] = rows[:, -2]
    return rows.view(-1, rows.shape[-1])


_TOWER = (("vision_tower.", "vision_tower.vision_model."),)
# this converter loses the embedding of [IMG_BREAK] under its usual name
_EMBEDDINGS = (("language_model.model.embed_tokens.", "model.embed_tokens."),)
_TOWER_IN_MODEL = (("model.vision_tower.", "model.vision_tower.vision_model."),)
_MODEL = (("vision_tower.", "model.vision_tower."), ("multi_modal_projector.", "model.multi_modal_projector."))
FAMILIES = {
    family.name: family
    for family in (
        Family("qwen2_vl", _qwen2_vl, seed=298),
        Family("qwen2_5_vl", _qwen2_5_vl, seed=357),
        Family("qwen3_vl", _qwen3_vl, seed=2455),
        Family("gemma3", _gemma3, seed=1266, renamed=_TOWER),
        Family("smolvlm", _smolvlm, seed=466),
        Family(
            "llava",
            _llava,
            seed=25,
            least_margin=0.02,
            has_template=False,
            write_projector=write_projector,
            disturb=_last_patch,
        ),
        Family("pixtral", _pixtral, seed=29, least_margin=0.03, renamed=_EMBEDDINGS),
        Family("lfm2_vl", _lfm2_vl, seed=1, least_margin=0.02, renamed=_TOWER_IN_MODEL),
        Family("internvl", _internvl, seed=10, least_margin=0.02, renamed=_MODEL),
    )
}
