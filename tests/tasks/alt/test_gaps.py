"""Which images lack an alternative text, and that filling one changes nothing else."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ggufvlm.tasks.alt.gap import Gap, insert, shorten
from ggufvlm.tasks.alt.html_gaps import html_gaps
from ggufvlm.tasks.alt.markdown_gaps import markdown_gaps
from ggufvlm.tasks.alt.text_file import TextFile

NASTY = 'A "quoted" <b> & [x](y) *star* `tick` | pipe \\ &amp; _low_ é 猫 !'


def fill(text: str, gaps: list[Gap], words: str = "WORDS") -> str:
    return insert(text, [(gap.at, gap.filled(words)) for gap in gaps])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<img src="a.png">', '<img alt="WORDS" src="a.png">'),
        ("<IMG SRC=a.png/>", '<IMG alt="WORDS" SRC=a.png/>'),
        ("<p>\r\n  <img\n  src='a.png'\n/></p>", "<p>\r\n  <img alt=\"WORDS\"\n  src='a.png'\n/></p>"),
        (
            "<image><source srcset=b.avif><img src=a.png></image>",
            '<image><source srcset=b.avif><img alt="WORDS" src=a.png></image>',
        ),
        ("<img title='x' src=a.png>", "<img alt=\"WORDS\" title='x' src=a.png>"),
        ("é<!-- <img src=x> --><img src=a.png>", 'é<!-- <img src=x> --><img alt="WORDS" src=a.png>'),
    ],
)
def test_html_gets_an_attribute(text, expected):
    assert fill(text, html_gaps(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        '<img src="a.png" alt="A cat">',
        '<img src="a.png" alt="">',
        "<img src=a.png alt>",
        '<img src="a.png" role="presentation">',
        '<img src="a.png" role=none>',
        '<img src="a.png" aria-hidden="true">',
        '<div aria-hidden="true"><p>x<br><img src="a.png"></p></div>',
        '<img src="a.png" aria-label="A cat">',
        '<img src="dot.gif" width="1" height="1">',
        "<script>let a = '<img src=x.png>'</script>",
        "<!-- <img src=a.png> -->",
        "<img>",
        "no image",
        "",
    ],
)
def test_html_that_needs_nothing(text):
    assert html_gaps(text) == []


def test_hidden_elements_end():
    assert len(html_gaps('<div aria-hidden="true"><p>x</div><img src="a.png">')) == 1


def test_lazy_and_responsive_images_are_found():
    text = (
        '<img src="data:image/gif;base64,R0" data-src="a.png"><img srcset="b.png 1x, c.png 2x"><img src="d&amp;e.png">'
    )
    assert [gap.source for gap in html_gaps(text)] == ["a.png", "b.png", "d&e.png"]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ('<img src="grey.gif" data-src="a.png">', "a.png"),
        ('<img src="grey.gif" data-lazy="img/a.png">', "img/a.png"),
        ('<img src="grey.gif" data-srcset="a.png 1x, b.png 2x">', "a.png"),
        ('<img src="grey.gif" data-lazy-srcset="a.png, b.png 2x">', "a.png"),
        ('<img src="a.png" data-lazy="true">', "a.png"),
        ('<img src="a.png" data-src="">', "a.png"),
        ('<img src="a.png" srcset="b.png 2x">', "a.png"),
        ('<img src="data:image/gif;base64,R0" srcset="a.png 2x">', "a.png"),
        (
            '<picture><source data-srcset="a.png 1x"><source srcset=b.png><img src="data:,x"></picture>',
            "a.png",
        ),
        ('<picture><source srcset=b.avif><img src="a.png"></picture>', "a.png"),
        ('<picture><source srcset=b.avif><img alt=x src=b.png></picture><img src="data:,x">', "data:,x"),
    ],
)
def test_the_image_that_is_shown_in_the_end(text, source):
    assert [gap.source for gap in html_gaps(text)] == [source]


@pytest.mark.parametrize(
    "text",
    [
        "<p hidden>x<p><img src=a.png>",
        "<p hidden><b>x<div><img src=a.png></div>",
        "<p hidden>x<ul><li><img src=a.png></ul>",
        "<ul><li hidden>x<li><img src=a.png></ul>",
        "<ul><li hidden><ul><li>x<li>y</ul><li><img src=a.png></ul>",
        "<dl><dt hidden>x<dd><img src=a.png></dl>",
        "<table><tr><td hidden>x<td><img src=a.png></table>",
        "<table><tr hidden><td>x<tr><td><img src=a.png></table>",
        "<table><thead hidden><tr><td>x<tbody><tr><td><img src=a.png></table>",
        "<section><p hidden>x</section><img src=a.png>",
    ],
)
def test_hidden_elements_end_where_their_end_tag_is_left_out(text):
    assert [gap.source for gap in html_gaps(text)] == ["a.png"]


@pytest.mark.parametrize(
    "text",
    [
        "<p hidden><b><img src=a.png></b><img src=a.png>",
        "<ul hidden><li>x<li><img src=a.png></ul>",
        "<li hidden><ul><li>x<li><img src=a.png></ul>",
        "<div hidden><p>x<p><img src=a.png></div>",
        "<table hidden><tr><td>x<td><img src=a.png></table>",
    ],
)
def test_what_is_in_a_hidden_element_stays_hidden(text):
    assert html_gaps(text) == []


@pytest.mark.parametrize("mark", ["---", "+++"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.md", "a.html"])
def test_front_matter_stays_as_it_is(mark, end, name):
    front = end.join([mark, "title: ![](t.png)", "cover: <img src=t.png>", mark, ""])
    body = {"a.md": f"![](a.png){end}", "a.html": f"<img src=a.png>{end}"}[name]
    for start in ("", "\ufeff"):
        file = TextFile(Path(name), Path(), start + front + body, "utf-8")
        (gap,) = file.gaps()
        assert (gap.source, file.text[: gap.at].startswith(start + front)) == ("a.png", True)
    rule = TextFile(Path("a.md"), Path(), "---\n\n![](a.png)\n", "utf-8")
    assert [gap.source for gap in rule.gaps()] == ["a.png"], "a line, and no front matter"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![](a.png)", "![WORDS](a.png)"),
        ("![ ](a.png)", "![WORDS ](a.png)"),
        ('text ![](<a b.png> "title") more', 'text ![WORDS](<a b.png> "title") more'),
        ("![][ref]\n\n[ref]: a.png", "![WORDS][ref]\n\n[ref]: a.png"),
        ("[![](a.png)](https://example.org)", "[![WORDS](a.png)](https://example.org)"),
        ("`![](a.png)` ![](a.png)", "`![](a.png)` ![WORDS](a.png)"),
        ("# Head ![](a.png) #", "# Head ![WORDS](a.png) #"),
        ("> - one\r\n>   two ![](a.png)\r\n", "> - one\r\n>   two ![WORDS](a.png)\r\n"),
        ("- ![](a.png)\n\n  ![](b.png)", "- ![WORDS](a.png)\n\n  ![WORDS](b.png)"),
        (
            "| a | b |\n|---|---|\n| ![](a.png) | ![](a.png) |",
            "| a | b |\n|---|---|\n| ![WORDS](a.png) | ![WORDS](a.png) |",
        ),
        (
            "| a | b |\n|---|---|\n| x \\| y ![](a.png) \\| <img src=b.png> | ![](c.png) |",
            '| a | b |\n|---|---|\n| x \\| y ![WORDS](a.png) \\| <img alt="WORDS" src=b.png> | ![WORDS](c.png) |',
        ),
        ("<div>\n<img src='a.png'>\n</div>", "<div>\n<img alt=\"WORDS\" src='a.png'>\n</div>"),
        ("x <img src='a.png'> `<img src='b.png'>`", "x <img alt=\"WORDS\" src='a.png'> `<img src='b.png'>`"),
        ("\\![](a.png) ![](b.png)", "\\![](a.png) ![WORDS](b.png)"),
        ("猫 ![](a.png)\n![](b.png)", "猫 ![WORDS](a.png)\n![WORDS](b.png)"),
        ("a ![](a.png)\\\n   b ![](b.png)", "a ![WORDS](a.png)\\\n   b ![WORDS](b.png)"),
    ],
)
def test_markdown_gets_words_between_its_brackets(text, expected):
    assert fill(text, markdown_gaps(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "![A cat](a.png)",
        "```\n![](a.png)\n```",
        "    ![](a.png)",
        "`![](a.png)`",
        "![ref]\n\n[ref]: a.png",
        "[](a.png)",
        "<!-- ![](a.png) -->",
        "![]()",
        "",
    ],
)
def test_markdown_that_needs_nothing(text):
    assert markdown_gaps(text) == []


class Alts(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs).get("alt"))

    handle_startendtag = handle_starttag


def alts_of_markdown(text: str) -> list[str]:
    """Not as HTML: markdown-it-py before 4.3 loses escaped characters there."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    images = [child for token in tokens for child in token.children or [] if child.type == "image"]
    return ["".join(part.content for part in image.children or []) for image in images]


def test_a_reader_sees_exactly_the_words():
    page = fill("<img src=a.png>", html_gaps("<img src=a.png>"), NASTY)
    assert Alts(page).found == [NASTY]
    for text in ("![](a.png)", "| a |\n|---|\n| ![](a.png) |"):
        written = fill(text, markdown_gaps(text), NASTY)
        assert alts_of_markdown(written) == [NASTY]


PIECES = st.sampled_from(
    [
        "![](a.png)",
        "![x](b.png)",
        "<img src=c.png>",
        "`",
        "\n",
        "\n\n",
        "> ",
        "- ",
        "  ",
        "\t",
        "| ",
        "text ",
        "![][r]",
        "\r\n",
        "<div>",
        "</div>",
        "\\",
        "é",
        "*",
        "[",
        "]",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_whatever_the_text_only_images_without_words_change(text):
    parser = MarkdownIt("commonmark").enable("table")
    before = Alts(parser.render(text)).found
    after = Alts(parser.render(fill(text, markdown_gaps(text)))).found
    assert len(before) == len(after)
    assert all(new in (old, "WORDS") for old, new in zip(before, after, strict=True))
    assert all(new == old for old, new in zip(before, after, strict=True) if old)


@given(st.text("ab c.,!", max_size=60), st.integers(10, 40))
def test_words_are_shortened_to_the_limit(words, limit):
    short = shorten(words, limit)
    assert len(short) <= limit
    assert " ".join(words.split()).startswith(short.removesuffix("…"))


def test_where_words_are_cut():
    assert shorten("One cat. Two dogs and a bird.", 20) == "One cat."
    assert shorten("A cat on the mat, asleep", 18) == "A cat on the mat…"
    assert shorten("A  cat\n", 20) == "A cat"
