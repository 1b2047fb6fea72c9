"""What a model wrote about a page -> Markdown or text: fences, grounding marks and layout JSON taken away. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from ggufvlm.families.pages import Markup, PageFormat
from ggufvlm.tasks.ocr.doctags import read_doctags
from ggufvlm.tasks.ocr.tables import html_to_text

_FENCE = re.compile(r"```(?:markdown|md|text|plaintext|txt|html|json)?[ \t]*\n(.*?)(?:\n```)?", re.DOTALL)
_END_MARKS = re.compile(r"<[|｜][\w▁ ]*(?:end|eos|im_end)[\w▁ ]*[|｜]>|</s>")


def clean(answer: str, markup: Markup, wanted: PageFormat) -> str:
    """A page as the format wants it.

    Args:
        answer: as the model wrote it, control tokens included where its markup is made of them.
        markup: what it is written in.
        wanted: tables are lines with tabs in ``text``, headings and images have no marks there.
    """
    if markup == "doctags":
        return read_doctags(answer, wanted)
    text = without_fence(answer)
    if markup == "layout":
        text = read_layout(text, wanted)
    elif markup == "grounded":
        text = read_grounded(_END_MARKS.sub("", text), wanted)
    return (html_to_text(text) if wanted == "text" else text).strip("\n")


def without_fence(answer: str) -> str:
    """The inside of an answer that is one fenced block, also of one that was cut before its end."""
    stripped = answer.strip()
    match = _FENCE.fullmatch(stripped)
    if match is None or "\n```" in match[1]:
        return answer
    return match[1]


_REF = re.compile(
    r"<\|ref\|>(?P<label>(?:(?!<\|/?ref\|>).)*)<\|/ref\|>[ \t]*<\|det\|>.*?(?:<\|/det\|>|\Z)[ \t]*\n?", re.DOTALL
)
_DET = re.compile(r"<\|det\|>(?P<label>[a-z_ ]*)\[.*?(?:<\|/det\|>|\Z)[ \t]*\n?", re.DOTALL)
_KINDS = (
    "text title sub_title table table_caption table_footnote image image_caption figure figure_caption equation "
    "equation_caption formula formula_number header footer page_number page_footnote list list_item code caption "
    "footnote reference aside_text abstract"
)
_LABELS = frozenset(_KINDS.split())
_IMAGES = ("image", "figure")


def read_grounded(answer: str, wanted: PageFormat) -> str:
    """DeepSeek-OCR's answer to ``<|grounding|>``, without places: ``<|ref|>title<|/ref|><|det|>[[...]]<|/det|>``.

    What is named between ``ref`` is the kind of a block, whose text follows; any other word there is text itself.
    """

    def replaced(match: re.Match[str]) -> str:
        label = match["label"].strip()
        if label in _IMAGES:
            return "<!-- image -->\n" if wanted == "markdown" else ""
        return "" if label in _LABELS or not label else f"{label}\n"

    text = _DET.sub(replaced, _REF.sub(replaced, answer.replace("<|grounding|>", "")))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


_HEADINGS = {"Title": "# ", "Section-header": "## "}


def read_layout(answer: str, wanted: PageFormat) -> str:
    """dots.ocr's list of ``{"bbox", "category", "text"}`` in the order of reading. Of damaged JSON the whole entries
    are taken; a text that has none comes back as it is."""
    cells = _cells(answer)
    blocks = [_cell(cell, wanted) for cell in cells]
    return "\n\n".join(block for block in blocks if block) if cells else answer


def _cells(answer: str) -> list[dict[str, Any]]:
    """Objects with a category, as deep as they may lie, from what parses of the text."""
    decoder, cells, at = json.JSONDecoder(), list[dict[str, Any]](), answer.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(answer, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            cells += _with_category(value)
        at = answer.find("{", end)
    return cells


def _with_category(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("category"), str):
            return [value]
        return [cell for inner in value.values() for cell in _with_category(inner)]
    return [cell for inner in value for cell in _with_category(inner)] if isinstance(value, list) else []


def _cell(cell: dict[str, Any], wanted: PageFormat) -> str:
    text, category = str(cell.get("text") or "").strip(), cell["category"]
    if wanted == "text":
        return text
    if category == "Picture":
        return "\n\n".join(part for part in ("<!-- image -->", text) if part)
    if category == "Formula" and text and "$" not in text and not text.startswith("\\["):
        return f"$$\n{text}\n$$"
    heading = _HEADINGS.get(category, "")
    return heading + text if text and not text.startswith("#") else text
