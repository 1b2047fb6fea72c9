"""DocTags, as granite-docling and SmolDocling write pages -> Markdown or text. Pure.

The tags are those of docling-core's ``DocumentToken`` and ``TableToken``. Damage is taken as it comes: a tag that is
not closed ends with the one around it, a cut page with its last word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ggufvlm.families.pages import PageFormat
from ggufvlm.tasks.ocr.tables import read_otsl, to_lines, to_markdown

_TAGS = (
    "doctag title section_header text paragraph caption footnote page_header page_footer list_item ordered_list "
    "unordered_list list formula code otsl table chart picture checkbox_selected checkbox_unselected reference "
    "document_index form key_value_region inline group handwritten_text empty_value key_value"
)
_BLOCKS = frozenset(_TAGS.split())
_LISTS = ("ordered_list", "unordered_list", "list")
_TAG = re.compile(r"<(/?)([a-z][a-z0-9_]*)>")
_LEVEL = re.compile(r"section_header_level_([1-6])")
_NOISE = re.compile(
    r"<loc_\d+>|<page_break>|<\|?end_of_utterance\|?>|<\|end_of_text\|>|<(?:row|col)_\d+>|<global-img>|</?doctag>"
)
_LANGUAGE = re.compile(r"\s*<_([^<>]+)_>")
_IMAGE_CLASS = re.compile(r"<[a-z_]+>")
_BULLET = re.compile(r"^(?:[-*·•‣◦○●▪■–—]|\(?\d{1,3}[.)])\s+")


@dataclass(slots=True)
class _Node:
    tag: str
    children: list[_Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of its words, nodes included."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def nodes(self, *tags: str) -> list[_Node]:
        return [child for child in self.children if isinstance(child, _Node) and child.tag in tags]


def read_doctags(answer: str, wanted: PageFormat) -> str:
    """A page in DocTags as Markdown or text. A text without any tag comes back as it is."""
    root = _parse(_NOISE.sub("", answer))
    blocks = [_block(child, wanted) for child in root.children]
    return "\n\n".join(block for block in blocks if block)


def _parse(answer: str) -> _Node:
    root = _Node("doctag")
    open_nodes = [root]
    end = 0
    for match in _TAG.finditer(answer):
        closes, tag = match[1], match[2]
        if tag not in _BLOCKS and not _LEVEL.fullmatch(tag):
            continue  # words of the page, or a token of the table or image it stands in
        open_nodes[-1].children.append(answer[end : match.start()])
        end = match.end()
        if not closes:
            node = _Node(tag)
            open_nodes[-1].children.append(node)
            open_nodes.append(node)
        elif any(node.tag == tag for node in open_nodes[1:]):
            while open_nodes.pop().tag != tag:
                pass
    open_nodes[-1].children.append(answer[end:])
    return root


def _block(node: _Node | str, wanted: PageFormat) -> str:
    if isinstance(node, str):
        return node.strip()
    level = _LEVEL.fullmatch(node.tag)
    if level or node.tag in ("title", "section_header"):
        depth = 1 if node.tag == "title" else int(level[1]) + 1 if level else 2
        return _marked("#" * min(depth, 6) + " ", _words(node), wanted)
    if node.tag in ("otsl", "table", "chart"):
        return _table(node, wanted)
    if node.tag in _LISTS:
        return "\n".join(_list(node, wanted, 0))
    if node.tag == "list_item":
        return "\n".join(_item(node, wanted, 0, "- "))
    special = {"formula": _formula, "code": _code, "picture": _image}.get(node.tag)
    if special is not None:
        return special(node, wanted)
    if node.tag.startswith("checkbox_"):
        return _marked("- [x] " if node.tag == "checkbox_selected" else "- [ ] ", _words(node), wanted)
    if any(isinstance(child, _Node) for child in node.children):
        return _group(node, wanted)
    return _words(node)


def _group(node: _Node, wanted: PageFormat) -> str:
    separator = " " if node.tag == "inline" else "\n\n"
    return separator.join(block for child in node.children if (block := _block(child, wanted)))


def _words(node: _Node) -> str:
    return " ".join(node.text.split())


def _marked(mark: str, words: str, wanted: PageFormat) -> str:
    return mark + words if words and wanted == "markdown" else words


def _table(node: _Node, wanted: PageFormat) -> str:
    captions = [_words(caption) for caption in node.nodes("caption")]
    inner = [_table(table, wanted) for table in node.nodes("otsl", "table")]
    rows = read_otsl("".join(child for child in node.children if isinstance(child, str)))
    written = to_markdown(rows) if wanted == "markdown" else to_lines(rows)
    return "\n\n".join(part for part in (*captions, written, *inner) if part)


def _list(node: _Node, wanted: PageFormat, depth: int) -> list[str]:
    lines: list[str] = []
    number = 0
    for child in node.children:
        if isinstance(child, str):
            lines += [child.strip()] if child.strip() else []
        elif child.tag in _LISTS:
            lines += _list(child, wanted, depth + 1)
        else:
            number += 1
            lines += _item(child, wanted, depth, f"{number}. " if node.tag == "ordered_list" else "- ")
    return lines


def _item(node: _Node, wanted: PageFormat, depth: int, mark: str) -> list[str]:
    own = _Node(node.tag, [child for child in node.children if isinstance(child, str) or child.tag not in _LISTS])
    words = _words(own)
    if wanted == "markdown":
        words = mark + _BULLET.sub("", words)
    lines = ["   " * depth + words]
    for inner in node.nodes(*_LISTS):
        lines += _list(inner, wanted, depth + 1)
    return lines


def _formula(node: _Node, wanted: PageFormat) -> str:
    latex = node.text.strip()
    return f"$$\n{latex}\n$$" if latex and wanted == "markdown" else latex


def _code(node: _Node, wanted: PageFormat) -> str:
    text = node.text
    language = _LANGUAGE.match(text)
    text = (text[language.end() :] if language else text).strip("\n")
    if wanted == "text" or not text:
        return text
    name = language[1].lower() if language and language[1].lower() != "unknown" else ""
    fence = "````" if "```" in text else "```"
    return f"{fence}{name}\n{text}\n{fence}"


def _image(node: _Node, wanted: PageFormat) -> str:
    parts = ["<!-- image -->"] if wanted == "markdown" else []
    for child in node.children:
        parts.append(_IMAGE_CLASS.sub("", child).strip() if isinstance(child, str) else _block(child, wanted))
    return "\n\n".join(part for part in parts if part)
