"""The conventions that are known, with where that is known from. "From memory" was seen nowhere in writing."""

from __future__ import annotations

from ggufvlm.errors import UsageError
from ggufvlm.grounding.convention import Convention

_QWEN_LABELLED = (
    "Locate every instance that belongs to the following categories: {label}. "
    "Report bbox coordinates and the label of each in JSON format."
)
_QWEN_EVERYTHING = "Detect all objects in the image. Report bbox coordinates and the label of each in JSON format."
_QWEN_POINTED = "Locate every {label} with points, report label and point coordinates in JSON format."
_REF_LABELLED = "Please provide the bounding box coordinate of the region this sentence describes: <ref>{label}</ref>"
_REF_EVERYTHING = "Please detect and label all objects in the following image and mark their positions."
_QWEN_MIN_TOKENS = 1024  # ggml-org/llama.cpp#16842: 1024 to 2048 are "the sweet spot"

_ALL = (
    # Qwen's GROUNDING_DATA_FORMAT.md; huggingface.co/maxiw/Qwen2-VL-Detection; the question for all from memory
    Convention(
        name="qwen2_rel1000",
        who="Qwen2-VL",
        scale=1000,
        everything="Detect all objects in the image and give the bounding box of each.",
        labelled="Detect the bounding box of <|object_ref_start|>{label}<|object_ref_end|>",
        control=("<|object_ref_start|>", "<|object_ref_end|>"),
        one_by_one=True,
        shows_control=True,
        min_tokens=_QWEN_MIN_TOKENS,
    ),
    # QwenLM/Qwen3-VL#676: pixels of the image after the processor's resize; questions as in Qwen's cookbooks
    Convention(
        name="qwen25_abs_px",
        who="Qwen2.5-VL",
        scale=None,
        everything=_QWEN_EVERYTHING,
        labelled=_QWEN_LABELLED,
        pointed=_QWEN_POINTED,
        min_tokens=_QWEN_MIN_TOKENS,
    ),
    # ggml-org/llama.cpp#16842, #17131
    Convention(
        name="qwen3_rel1000",
        who="Qwen3-VL and Qwen3.5",
        scale=1000,
        everything=_QWEN_EVERYTHING,
        labelled=_QWEN_LABELLED,
        pointed=_QWEN_POINTED,
        min_tokens=_QWEN_MIN_TOKENS,
    ),
    # huggingface.co/MoritzLaurer, internvl2-bbox-prompt.yaml; the question for all from memory
    Convention(
        name="internvl_box",
        who="InternVL",
        scale=1000,
        everything=_REF_EVERYTHING,
        labelled=_REF_LABELLED,
        control=("<ref>", "</ref>"),
        one_by_one=True,
        shows_control=True,
    ),
    # OpenBMB/MiniCPM-V#982, #772
    Convention(
        name="minicpm_box",
        who="MiniCPM-V",
        scale=1000,
        frame="image",  # seen whole, stretched over one square, and in slices with bars of their own
        everything=_REF_EVERYTHING,
        labelled=_REF_LABELLED,
        control=("<ref>", "</ref>"),
        one_by_one=True,
        shows_control=True,
    ),
    # zai-org's glmv-grounding skill: 0 to 1000, JSON with bbox_2d or lists in box tokens; questions from memory
    Convention(
        name="glm_rel1000",
        who="GLM-4.1V and later",
        scale=1000,
        everything=(
            "Detect all objects in the image. Give their labels and bounding boxes as a JSON list of "
            '{"label": ..., "bbox_2d": [x1, y1, x2, y2]}.'
        ),
        labelled=(
            "Locate every {label} in the image. Give their labels and bounding boxes as a JSON list of "
            '{"label": ..., "bbox_2d": [x1, y1, x2, y2]}.'
        ),
        shows_control=True,
    ),
    # deepseek-ai/DeepSeek-OCR, run_dpsk_ocr_image.py: divided by 999, times the sides of the image before padding
    Convention(
        name="deepseek_det999",
        who="DeepSeek-OCR and DeepSeek-VL2",
        scale=999,
        frame="image",
        everything="<|grounding|>Convert the document to markdown.",
        labelled="Locate <|ref|>{label}<|/ref|> in the image.",
        control=("<|grounding|>", "<|ref|>", "<|/ref|>"),
        one_by_one=True,
        shows_control=True,
    ),
    # ai.google.dev, Gemma's vision page, and Gemini's on images; for Gemma 3 a reply of Google's ("likely")
    Convention(
        name="gemini_yx1000",
        who="Gemma 4 and Gemma 3",
        scale=1000,
        y_first=True,
        everything=(
            "Detect all prominent items in the image. Output a JSON list of "
            '{"box_2d": [ymin, xmin, ymax, xmax], "label": ...} normalized to 0-1000.'
        ),
        labelled=(
            "Detect {label}. Output a JSON list of "
            '{"box_2d": [ymin, xmin, ymax, xmax], "label": ...} normalized to 0-1000.'
        ),
        pointed=('Point to every {label}. Output a JSON list of {"point": [y, x], "label": ...} normalized to 0-1000.'),
    ),
    # rednote-hilab/dots.ocr, its layout prompt; pixels of the resized image
    Convention(
        name="dots_abs_px",
        who="dots.ocr",
        scale=None,
        everything=(
            "Please output the layout information from this PDF image, including each layout's bbox and its category. "
            "The bbox should be in the format [x1, y1, x2, y2]. The layout categories for the PDF document include "
            "['Caption', 'Footnote', 'Formula', 'List-item', 'Page-footer', 'Page-header', 'Picture', "
            "'Section-header', 'Table', 'Text', 'Title']. Do not output the corresponding text. The layout result "
            "should be in JSON format."
        ),
    ),
    # ibm-granite/granite-docling-258M: its only task; a grid of 500
    Convention(
        name="doctags", who="Granite-Docling", scale=500, everything="Convert this page to docling.", shows_control=True
    ),
    # MoonshotAI/Kimi-VL#56; the questions are those of LFM2.5-VL's model card, from memory
    Convention(
        name="json_rel1",
        who="Kimi-VL and LFM2.5-VL",
        scale=1,
        everything=(
            "Detect all objects in the image. Response must be a JSON array: "
            '[{"label": ..., "bbox": [x1, y1, x2, y2]}, ...]. Coordinates are normalized to [0,1].'
        ),
        labelled=(
            "Detect all instances of: {label}. Response must be a JSON array: "
            '[{"label": ..., "bbox": [x1, y1, x2, y2]}, ...]. Coordinates are normalized to [0,1].'
        ),
    ),
    # the built-in model, which knows this one question, and fine-tunes like it
    Convention(
        name="json_rel1000",
        who="models like the built-in one",
        scale=1000,
        everything="Detect all objects and return their bounding boxes as JSON.",
    ),
)
CONVENTIONS = {convention.name: convention for convention in _ALL}


def named(name: str) -> Convention:
    """The convention of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in CONVENTIONS:
        raise UsageError(f"unknown convention for boxes: {name!r}", hint=f"known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
