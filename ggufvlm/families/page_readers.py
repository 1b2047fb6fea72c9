"""Small models that were made for reading, and of which nothing more is to be known than how they are asked."""

from __future__ import annotations

from ggufvlm.families.family import Family
from ggufvlm.families.pages import PagePrompts

# HunyuanOCR's README, "Document parsing": leaves out headers and footers; and "Text extraction"
_HUNYUAN_MARKDOWN = (
    "提取文档图片中正文的所有信息用markdown格式表示，其中页眉、页脚部分忽略，表格用html格式表达，"
    "文档中公式用latex格式表示，按照阅读顺序组织进行解析。"
)

FAMILIES = (
    Family(
        name="PaddleOCR-VL",
        projectors=("paddleocr",),
        word="paddleocr",
        pages=PagePrompts(text="OCR:", markdown="OCR:"),
    ),
    Family(
        name="HunyuanOCR",
        projectors=("hunyuanvl",),
        token_bounds=(256, 16384),  # clip.cpp, as the next one's
        pages=PagePrompts(text="提取图中的文字。", markdown=_HUNYUAN_MARKDOWN),
    ),
    # trained on the image alone
    Family(
        name="LightOnOCR", projectors=("lightonocr",), token_bounds=(1, 16384), pages=PagePrompts(text="", markdown="")
    ),
)
