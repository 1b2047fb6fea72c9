"""dots.ocr: pages on a canvas of libmtmd's, answered as a layout."""

from __future__ import annotations

from ggufvlm.families.convention import Convention
from ggufvlm.families.family import SCALE_FACTOR, CanvasRule, Family
from ggufvlm.families.pages import PagePrompts

# dots_ocr/utils/prompts.py, prompt_layout_all_en: the model was trained with these very words
_LAYOUT = """Please output the layout information from the PDF image, including each layout element's bbox, its \
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
# rednote-hilab/dots.ocr, its layout prompt; pixels of the resized image
_BOXES = Convention(
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
)

FAMILIES = (
    Family(
        name="dots.ocr",
        projectors=("dots_ocr",),
        canvas=CanvasRule(1, SCALE_FACTOR, None),
        convention=_BOXES,
        pages=PagePrompts(
            text="Extract the text content from this image.", markdown=_LAYOUT, markup=("plain", "layout")
        ),
    ),
)
