"""What models write about pages, as Markdown and as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.families.control import text_parts
from ggufvlm.families.pages import GENERAL
from ggufvlm.families.registry import choose_family
from ggufvlm.models.registry import load_registry
from ggufvlm.tasks.ocr.doctags import read_doctags
from ggufvlm.tasks.ocr.markup import clean, read_grounded, read_layout, without_fence
from ggufvlm.tasks.ocr.tables import html_to_text, read_html, read_otsl, to_lines, to_markdown

PAGE = (
    "<doctag><page_header><loc_15><loc_104><loc_30><loc_350>Annual report</page_header>\n"
    "<title><loc_1><loc_2><loc_3><loc_4>Figures</title>"
    "<section_header_level_1><loc_88><loc_53><loc_413><loc_75>1 Sales</section_header_level_1>\n"
    "<text><loc_88><loc_80><loc_413><loc_99>Where a < b and\n<b>bold</b> holds.</text>"
    "<unordered_list><list_item><loc_1><loc_1><loc_1><loc_1>• first</list_item>"
    "<list_item>second<ordered_list><list_item>inner</list_item><list_item>more</list_item></ordered_list></list_item>"
    "</unordered_list>"
    "<otsl><loc_1><loc_2><loc_3><loc_4><caption>Table 1: sums</caption><ched>Year<ched>A|B<lcel><nl>"
    "<rhed>2024<fcel>7<ecel><nl></otsl>"
    "<formula><loc_1><loc_1><loc_1><loc_1>E = mc^2</formula>"
    "<code><loc_1><loc_1><loc_1><loc_1><_Python_>if x < 1:\n    y = 2</code>"
    "<picture><loc_0><loc_0><loc_9><loc_9><pie_chart><caption>Figure 1: shares</caption></picture>"
    "<checkbox_selected>agreed</checkbox_selected></doctag><|end_of_text|>"
)


def test_doctags_become_markdown() -> None:
    assert read_doctags(PAGE, "markdown").split("\n\n") == [
        "Annual report",
        "# Figures",
        "## 1 Sales",
        "Where a < b and <b>bold</b> holds.",
        "- first\n- second\n   1. inner\n   2. more",
        "Table 1: sums",
        "| Year | A\\|B |  |\n| --- | --- | --- |\n| 2024 | 7 |  |",
        "$$\nE = mc^2\n$$",
        "```python\nif x < 1:\n    y = 2\n```",
        "<!-- image -->",
        "Figure 1: shares",
        "- [x] agreed",
    ]


def test_doctags_become_text() -> None:
    text = read_doctags(PAGE, "text")
    assert "Figures\n\n1 Sales\n\n" in text
    assert "• first\nsecond\n   inner\n   more" in text
    assert "Year\tA|B\t\n2024\t7\t" in text
    assert "if x < 1:\n    y = 2" in text
    for mark in ("#", "$$", "```", "<!--", "loc_", "doctag", "[x]"):
        assert mark not in text


def test_damaged_doctags_keep_their_words() -> None:
    assert read_doctags("<doctag><text><loc_1>cut in the mid", "markdown") == "cut in the mid"
    assert read_doctags("<text>one<text>two</text></text></title>three", "text") == "one\n\ntwo\n\nthree"
    assert read_doctags("<otsl><fcel>1<fcel>2<nl><fcel>3", "text") == "1\t2\n3"
    assert read_doctags("no tags at all", "markdown") == "no tags at all"


@given(st.text(alphabet="ab <>/_\n", max_size=60) | st.text(max_size=60))
def test_words_without_tags_pass_through_doctags(text: str) -> None:
    assert read_doctags(text, "text").split() == text.split()


@given(st.lists(st.sampled_from(["<text>", "</text>", "<otsl>", "<fcel>", "<nl>", "</otsl>", "<list_item>", "w "])))
def test_any_heap_of_tags_is_read(pieces: list[str]) -> None:
    for wanted in ("text", "markdown"):
        read = read_doctags("".join(pieces), wanted)  # type: ignore[arg-type]
        assert "<text>" not in read
        assert "<list_item>" not in read


def test_grounded_answers_lose_their_places() -> None:
    answer = (
        "<|ref|>title<|/ref|><|det|>[[330, 198, 558, 230]]<|/det|>\n# Quality\n\n"
        "<|ref|>text<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7, 8]]<|/det|>\nAll is well.\n\n"
        "<|ref|>image<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\n\n"
        "<|ref|>table<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\n<table><tr><td>a</td><td>b</td></tr></table>"
    )
    assert read_grounded(answer, "markdown").split("\n\n") == [
        "# Quality",
        "All is well.",
        "<!-- image -->",
        "<table><tr><td>a</td><td>b</td></tr></table>",
    ]
    assert clean(answer, "grounded", "text") == "# Quality\n\nAll is well.\n\na\tb"
    assert read_grounded("<|det|>text [1, 2, 3, 4]<|/det|>Free words", "text") == "Free words"
    assert read_grounded("<|ref|>Sale 50 %<|/ref|><|det|>[[1,2,3,4]]<|/det|>", "text") == "Sale 50 %"
    assert read_grounded("Said.\n<|ref|>text<|/ref|><|det|>[[1, 2", "text") == "Said."


LAYOUT = (
    '[{"bbox": [1, 2, 3, 4], "category": "Title", "text": "Report"},'
    ' {"bbox": [1, 2, 3, 4], "category": "Section-header", "text": "## Sums"},'
    ' {"bbox": [1, 2, 3, 4], "category": "Text", "text": "Braces { are } text."},'
    ' {"bbox": [1, 2, 3, 4], "category": "Picture"},'
    ' {"bbox": [1, 2, 3, 4], "category": "Formula", "text": "a+b"},'
    ' {"bbox": [1, 2, 3, 4], "category": "Table", "text": "<table><tr><td>1</td></tr></table>"}'
)


@pytest.mark.parametrize(
    "tail", ["]", "", ', {"bbox": [1, 2', ', {"bbox": [1, 2, 3, 4], "category": "Text", "text": "cu']
)
def test_layout_becomes_markdown_also_when_it_was_cut(tail: str) -> None:
    for answer in (LAYOUT + tail, f"```json\n{LAYOUT}{tail}\n```"):
        assert clean(answer, "layout", "markdown").split("\n\n") == [
            "# Report",
            "## Sums",
            "Braces { are } text.",
            "<!-- image -->",
            "$$\na+b\n$$",
            "<table><tr><td>1</td></tr></table>",
        ]


def test_layout_in_an_object_and_none_at_all() -> None:
    assert read_layout('{"layout": [{"category": "Text", "text": "x"}]}', "markdown") == "x"
    assert read_layout("Just words {here}.", "markdown") == "Just words {here}."


def test_fences_around_a_whole_answer_go() -> None:
    assert without_fence("```markdown\n# A\n\nb\n```") == "# A\n\nb"
    assert without_fence("```\nwords that were cut") == "words that were cut"
    for kept in ("before\n```\nx\n```", "```python\nx = 1\n```", "```\na\n```\nb\n```\nc\n```", "`x`"):
        assert without_fence(kept) == kept


def test_html_tables_become_lines_with_tabs() -> None:
    table = (
        "<table border=1><thead><tr><th colspan='2'>Both</th><th>C</th></tr></thead>"
        "<tbody><tr><td>1 &amp; 2</td><td>a<br>b</td><td></td></tr></tbody></table>"
    )
    assert read_html(table) == [["Both", "", "C"], ["1 & 2", "a b", ""]]
    assert html_to_text(f"Before {table} after") == "Before \nBoth\t\tC\n1 & 2\ta b\t\n after"
    assert html_to_text("<table><tr><td>cut") == "cut"
    assert html_to_text("a < b, <i>kept</i>") == "a < b, <i>kept</i>"
    assert len(read_html("<td colspan=99999999>x")[0]) == 1
    assert len(read_html("<td colspan=0>x</td>")[0]) == 1


def test_rows_of_different_length_make_one_table() -> None:
    rows = read_otsl("<ched>A<ched>B<ched>C<nl><fcel>1<nl><ucel><lcel><fcel>3 |<nl>")
    assert rows == [["A", "B", "C"], ["1"], ["", "", "3 |"]]
    lines = to_markdown(rows).split("\n")
    assert lines[1] == "| --- | --- | --- |"
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)
    assert to_lines(rows) == "A\tB\tC\n1\n\t\t3 |"
    assert to_markdown([]) == ""


# -- families


@pytest.mark.parametrize(
    ("model", "text", "markdown"),
    [
        ("glm-ocr", "Text Recognition:", "Text Recognition:"),
        ("paddleocr-vl-1.6", "OCR:", "OCR:"),
        ("deepseek-ocr", "Free OCR.", "<|grounding|>Convert the document to markdown."),
        ("dots.ocr", "Extract the text content from this image.", "Please output the layout information"),
        ("hunyuan-ocr", "提取图中的文字。", "提取文档图片中正文的所有信息用markdown格式表示"),
        ("granite-docling-258m", "Convert this page to docling.", "Convert this page to docling."),
        ("qwen2-vl-2b", "Transcribe all text", "Convert this page to Markdown."),
        ("smolvlm-500m", "Transcribe all text", "Convert this page to Markdown."),
        ("glm-4.6v-flash", "Transcribe all text", "Convert this page to Markdown."),
    ],
)
def test_models_of_the_registry_are_asked_in_their_own_words(model: str, text: str, markdown: str) -> None:
    spec = load_registry().find(model)
    pages = choose_family(spec.projector_type, word=spec.handler, names=(spec.id,)).pages
    assert pages.prompt("text").startswith(text)
    assert pages.prompt("markdown").startswith(markdown)


def test_control_tokens_of_a_prompt_are_known_as_such() -> None:
    parts = text_parts(choose_family("deepseekocr").pages.prompt("markdown"))
    assert [(part.text, part.trusted) for part in parts] == [
        ("<|grounding|>", True),
        ("Convert the document to markdown.", False),
    ]


def test_strangers_are_known_by_projector_or_name() -> None:
    assert choose_family("lightonocr", names=("LightOnOCR-1B-1025",)).pages.prompt("text") == ""
    assert choose_family("deepseekocr2", names=("whatever",)).name == "DeepSeek-OCR"
    assert choose_family("deepseekocr", names=("Unlimited OCR",)).pages.prompt("text") == "document parsing."
    assert choose_family("idefics3", names=("", "granite_docling_258M-Q8_0.gguf")).name == "DocTags"
    assert choose_family("idefics3", names=("SmolVLM-500M",)).pages is GENERAL
    assert choose_family(None).pages is GENERAL


def test_control_tokens_are_shown_only_where_the_markup_is_made_of_them() -> None:
    deepseek, docling = choose_family("deepseekocr").pages, choose_family("idefics3", names=("granite-docling",)).pages
    assert [deepseek.special_shown(wanted) for wanted in ("text", "markdown")] == [False, True]
    assert docling.special_shown("text")
    assert not GENERAL.special_shown("markdown")
