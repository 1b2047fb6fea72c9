"""An answer of a model -> the places it marks. Understands all notations at once: models do not keep to theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ggufvlm.grounding.json_marks import marks_in_value
from ggufvlm.grounding.lenient import read_values
from ggufvlm.grounding.places import Mark

_THOUGHTS = (("<think>", "</think>"), ("◁think▷", "◁/think▷"))
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBERS = re.compile(_NUMBER)
# Qwen2-VL; InternVL and MiniCPM-V; DeepSeek; GLM. A box that was cut off has no end.
_TAGS = re.compile(
    r"<\|object_ref_start\|>(?P<qwen>.{0,300}?)<\|object_ref_end\|>"
    r"|<ref>(?P<ref>.{0,300}?)</ref>"
    r"|<\|ref\|>(?P<det>.{0,300}?)<\|/ref\|>"
    r"|(?:<\|box_start\|>|<\|point_start\|>|<box>|<point>|<quad>|<\|det\|>|<\|begin_of_box\|>)(?P<place>.*?)"
    r"(?P<end><\|box_end\|>|<\|point_end\|>|</box>|</point>|</quad>|<\|/det\|>|<\|end_of_box\|>|\Z)",
    re.DOTALL,
)
_PLACE_TAG = re.compile(r"<\|box_start\|>|<\|point_start\|>|<box>|<point>|<\|det\|>|<\|begin_of_box\|>")
# docling: <image><loc_10><loc_20><loc_30><loc_40>...
_DOCTAG = re.compile(r"<(?P<tag>[a-z][\w-]*)>\s*(?P<locs>(?:<loc_\d+>\s*)+)(?P<text>[^<]*)")
_LOC = re.compile(r"<loc_(\d+)>")
_DOCTAG_WORDS = {"otsl": "table", "section_header": "section header"}
# (x, y), (x, y): what is left of Qwen2-VL's notation where control tokens are not shown
_PAIRS = re.compile(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)\s*,\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_CONTROL = re.compile(r"<\|[^|<>]*\|>")


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer marks, and how many of its marks could not be read."""

    marks: tuple[Mark, ...]
    n_dropped: int = 0


def read_answer(text: str) -> Reading:
    """Find the marks in an answer: control tokens around places, JSON or nearly so, bare numbers, in any prose."""
    text = _without_thoughts(text)
    if _PLACE_TAG.search(text):
        found = list(_in_tags(text))
    elif _LOC.search(text):
        found = list(_in_doctags(text))
    elif _PAIRS.search(text):
        found = list(_in_pairs(text))
    else:
        found = [mark for value in read_values(text) for mark in marks_in_value(value)]
    marks = tuple(mark for mark in found if mark is not None)
    return Reading(marks, len(found) - len(marks))


def _without_thoughts(text: str) -> str:
    for begin, end in _THOUGHTS:
        text = text.rpartition(end)[2].partition(begin)[0]
    return text


def _in_tags(text: str) -> Iterator[Mark | None]:
    label: str | None = None
    end = 0
    for match in _TAGS.finditer(text):
        if match["place"] is None:
            label = _plain(next(match[name] for name in ("qwen", "ref", "det") if match[name] is not None))
        else:
            name = label or _label_before(text[end : match.start()])
            yield from _in_place(match["place"], name, has_end=bool(match["end"]))
        end = match.end()


def _in_place(inside: str, label: str | None, *, has_end: bool) -> Iterator[Mark | None]:
    if "{" in inside:
        for value in read_values(inside):
            yield from marks_in_value(value, label)
        return
    numbers = [float(number) for number in _NUMBERS.findall(inside)]
    is_whole = has_end or inside.rstrip().endswith((")", "]"))
    if len(numbers) == 2 and is_whole:
        yield Mark(label, tuple(numbers))
        return
    groups = [tuple(numbers[at : at + 4]) for at in range(0, len(numbers), 4)]
    for group in groups if is_whole else groups[:-1]:
        yield Mark(label, group) if len(group) == 4 else None
    if not is_whole:
        yield None


def _in_doctags(text: str) -> Iterator[Mark | None]:
    for match in _DOCTAG.finditer(text):
        numbers = tuple(float(number) for number in _LOC.findall(match["locs"]))
        tag = re.sub(r"_level_\d+$", "", match["tag"])
        label = _DOCTAG_WORDS.get(tag, tag.replace("_", " "))
        yield Mark(label, numbers, match["text"].strip() or None) if len(numbers) == 4 else None


def _in_pairs(text: str) -> Iterator[Mark]:
    end = 0
    for match in _PAIRS.finditer(text):
        yield Mark(_label_before(text[end : match.start()]), tuple(float(number) for number in match.groups()))
        end = match.end()


def _label_before(text: str) -> str | None:
    """The words on the line before a place, if they are few: a label, not a sentence."""
    words = _plain(text.rpartition("\n")[2]).strip(" :,;.-*`'\"")
    return words if words and len(words.split()) <= 4 and any(map(str.isalpha, words)) else None


def _plain(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())
