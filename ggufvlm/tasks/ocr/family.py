"""How each family of models is asked to read a page, and in which markup it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ggufvlm.families.control import ControlText, MarkedText

if TYPE_CHECKING:
    from ggufvlm.models.files import ModelFiles

Format = Literal["text", "markdown"]
Markup = Literal["plain", "doctags", "grounded", "layout"]

PAGE_TOKENS = 2048
"""Tokens a page may take where the family resizes freely and the user says nothing: about 1060 x 1500 pixels of Qwen's,
near the 1288 pixels of the longer side at which olmOCR reads (olmocr/pipeline.py)."""

_FREE_RESIZE = frozenset({"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family's ways to be asked.

    Attributes:
        name: for people.
        text: prompt for plain text.
        markdown: prompt for Markdown.
        markup: what answers to either are written in, in the order of the prompts.
        shows_special: whether that markup consists of control tokens, which are left out of answers otherwise.
    """

    name: str
    text: str
    markdown: str
    markup: tuple[Markup, Markup] = ("plain", "plain")
    shows_special: tuple[bool, bool] = (False, False)

    def prompt(self, wanted: Format) -> str:
        """The prompt for a format."""
        return self.markdown if wanted == "markdown" else self.text

    def markup_of(self, wanted: Format) -> Markup:
        """What an answer to that prompt is written in."""
        return self.markup[wanted == "markdown"]

    def special_shown(self, wanted: Format) -> bool:
        """Whether its control tokens are wanted."""
        return self.shows_special[wanted == "markdown"]


# dots_ocr/utils/prompts.py, prompt_layout_all_en: the model was trained with these very words
_DOTS_LAYOUT = """Please output the layout information from the PDF image, including each layout element's bbox, its \
category, and the corresponding text content within the bbox.

1. Bbox format: [x1, y1, x2, y2]

2. Layout Categories: The possible categories are ['Caption', 'Footnote', 'Formula', 'List-item', 'Page-footer', \
'Page-header', 'Picture', 'Section-header', 'Table', 'Text', 'Title'].

3. Text Extraction & Formatting Rules:
    - Picture: For the 'Picture' category, the text field should be omitted.
    - Formula: Format its text as LaTeX.
    - Table: Format its text as HTML.
    - All Others (Text, Title, etc.): Format their text as Markdown.

4. Constraints:
    - The output text must be the original text from the image, with no translation.
    - All layout elements must be sorted according to human reading order.

5. Final Output: The entire output must be a single JSON object.
"""
# HunyuanOCR's README, "Document parsing": leaves out headers and footers; and "Text extraction"
_HUNYUAN_MARKDOWN = (
    "提取文档图片中正文的所有信息用markdown格式表示，其中页眉、页脚部分忽略，表格用html格式表达，"
    "文档中公式用latex格式表示，按照阅读顺序组织进行解析。"
)

GENERAL = Family(
    name="general",
    text="Transcribe all text in this image exactly as it is written, line by line. Write nothing else.",
    markdown="Convert this page to Markdown. Keep all text exactly as it is written, in the order in which people "
    "read it, with headings, lists and tables. Write nothing else.",
)
_GLM = Family(name="GLM-OCR", text="Text Recognition:", markdown="Text Recognition:")
_PADDLE = Family(name="PaddleOCR-VL", text="OCR:", markdown="OCR:")
_DEEPSEEK = Family(
    name="DeepSeek-OCR",
    text="Free OCR.",
    markdown=MarkedText((ControlText("<|grounding|>"), "Convert the document to markdown.")),
    markup=("plain", "grounded"),
    shows_special=(False, True),
)
_UNLIMITED = Family(  # its checkpoint has no answer to "Free OCR." (llama.cpp, tools/mtmd/tests/test-deepseek-ocr.py)
    name="Unlimited-OCR",
    text="document parsing.",
    markdown="document parsing.",
    markup=("grounded", "grounded"),
    shows_special=(True, True),
)
_DOTS = Family(
    name="dots.ocr",
    text="Extract the text content from this image.",
    markdown=_DOTS_LAYOUT,
    markup=("plain", "layout"),
)
_HUNYUAN = Family(name="HunyuanOCR", text="提取图中的文字。", markdown=_HUNYUAN_MARKDOWN)
_DOCLING = Family(
    name="DocTags",
    text="Convert this page to docling.",
    markdown="Convert this page to docling.",
    markup=("doctags", "doctags"),
    shows_special=(True, True),
)
_LIGHTON = Family(name="LightOnOCR", text="", markdown="")  # trained on the image alone

# By name first: these share their projector with models that can do more than read.
_BY_NAME: tuple[tuple[str, Family], ...] = (
    ("glm-ocr", _GLM),
    ("glmocr", _GLM),
    ("granite-docling", _DOCLING),
    ("smoldocling", _DOCLING),
    ("unlimited-ocr", _UNLIMITED),
)
_BY_PROJECTOR = {
    "paddleocr": _PADDLE,
    "deepseekocr": _DEEPSEEK,
    "deepseekocr2": _DEEPSEEK,
    "dots_ocr": _DOTS,
    "hunyuanvl": _HUNYUAN,
    "lightonocr": _LIGHTON,
}


def choose_family(projector_type: str | None, *names: str | None) -> Family:
    """The family of a model, a general one if it is none that was made for reading.

    Args:
        projector_type: the projector's own word, such as ``deepseekocr``.
        names: what the model is called, in its file, by the registry, by its path.
    """
    for name in names:
        plain = (name or "").lower().replace("_", "-").replace(" ", "-")
        for part, family in _BY_NAME:
            if part in plain:
                return family
    return _BY_PROJECTOR.get(projector_type or "", GENERAL)


def find_family(files: ModelFiles) -> Family:
    """The family of a model on disk, from its headers and names.

    Raises:
        ModelError: the files are damaged.
    """
    from ggufvlm.gguf.header import read_header

    header = read_header(files.model, stop_at_vocabulary=True)
    names = (files.spec.id if files.spec else None, header.text("general.name"), files.name, files.model.name)
    return choose_family(_projector_type(files), *names)


def page_budget(files: ModelFiles) -> int | None:
    """Most tokens of a page's image for models that take one at any size; ``None`` leaves it to the model.

    Raises:
        ModelError: the files are damaged.
    """
    if _projector_type(files) not in _FREE_RESIZE:
        return None
    most = files.spec.image.max_tokens if files.spec else None
    return PAGE_TOKENS if most is None else min(most, PAGE_TOKENS)


def _projector_type(files: ModelFiles) -> str | None:
    from ggufvlm.gguf.header import read_header

    header = read_header(files.mmproj)
    return header.text("clip.projector_type") or header.text("clip.vision.projector_type")
