"""Answers as models give them, and as they should not: what is marked, and what is counted as lost.

Sources: the notation of each family as in ``ggufvlm/families``; the rest from reports of users.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.grounding.answers import read_answer

Marks = list[tuple[str | None, tuple[float, ...]]]

ONE, TWO = ("cat", (10, 20, 30, 40)), ("dog", (50, 60, 70, 80))
NAMELESS = [(None, (10, 20, 30, 40))]
WHOLE: dict[str, tuple[str, Marks]] = {
    "Qwen2-VL (QwenLM/Qwen3-VL#1616)": (
        "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>"
        "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(50,60),(70,80)<|box_end|><|im_end|>",
        [ONE, TWO],
    ),
    "Qwen2-VL, several boxes of one name": (
        "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>"
        "<|box_start|>(50,60),(70,80)<|box_end|>",
        [ONE, ("cat", (50, 60, 70, 80))],
    ),
    "Qwen2-VL without its control tokens": ("cat(10,20),(30,40)\ndog(50,60),(70,80)", [ONE, TWO]),
    "Qwen2-VL, only the box": ("<|box_start|>(10,20),(30,40)<|box_end|>", NAMELESS),
    "Qwen2.5-VL in a fence (QwenLM/Qwen3-VL#676)": (
        '```json\n[\n\t{"bbox_2d": [10, 20, 30, 40], "label": "cat"},\n'
        '\t{"bbox_2d": [50, 60, 70, 80], "label": "dog"}\n]\n```',
        [ONE, TWO],
    ),
    "Qwen3-VL with words before": (
        'Here are the objects:\n{"bbox_2d": [10, 20, 30, 40], "label": "cat"}\n{"bbox_2d": [50, 60, 70, 80], '
        '"label": "dog"}\nI hope this helps [1].',
        [ONE, TWO],
    ),
    "Qwen3-VL, points": ('[{"point_2d": [10, 20], "label": "cat"}]', [("cat", (10, 20))]),
    "Qwen3-VL after a thought": (
        '<think>The cat may be at [1, 2, 3, 4].</think>\n[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]',
        [ONE],
    ),
    "InternVL": ("<ref>cat</ref><box>[[10, 20, 30, 40]]</box>", [ONE]),
    "InternVL, several of one name": (
        "Sure.\n<ref>cat</ref><box>[[10, 20, 30, 40], [50, 60, 70, 80]]</box>",
        [ONE, ("cat", (50, 60, 70, 80))],
    ),
    "MiniCPM-V: blanks (OpenBMB/MiniCPM-V#982)": (
        "<ref>cat</ref><box>10 20 30 40</box><ref>dog</ref><box>50 60 70 80</box>",
        [ONE, TWO],
    ),
    "GLM-4.5V": ("<|begin_of_box|>[[10,20,30,40]]<|end_of_box|>", NAMELESS),
    "GLM-4.6V: JSON in its box": (
        'They are <|begin_of_box|>[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]<|end_of_box|>.',
        [ONE],
    ),
    "DeepSeek-VL2, DeepSeek-OCR (supervision from_deepseek_vl_2)": (
        "<|ref|>cat<|/ref|><|det|>[[10, 20, 30, 40]]<|/det|>\n<|ref|>dog<|/ref|><|det|>[[50, 60, 70, 80]]<|/det|>"
        "<|end▁of▁sentence|>",
        [ONE, TWO],
    ),
    "Gemma, y first, as written": ('[{"box_2d": [20, 10, 40, 30], "label": "cat"}]', [("cat", (20, 10, 40, 30))]),
    "dots.ocr": ('[{"bbox": [10, 20, 30, 40], "category": "cat", "text": "Meow"}]', [ONE]),
    "Granite-Docling": (
        "<doctag><picture><loc_10><loc_20><loc_30><loc_40><other></picture>\n"
        "<section_header_level_1><loc_1><loc_2><loc_3><loc_4>Heading</section_header_level_1>\n"
        "<otsl><loc_5><loc_6><loc_7><loc_8><fcel>a<nl></otsl></doctag>",
        [("picture", (10, 20, 30, 40)), ("section header", (1, 2, 3, 4)), ("table", (5, 6, 7, 8))],
    ),
    "Kimi-VL (MoonshotAI/Kimi-VL#56)": ('{"bbox_2d":[0.28,0.5,0.52,0.7]}', [(None, (0.28, 0.5, 0.52, 0.7))]),
    "Kimi-VL after a thought": ("◁think▷[[1,2,3,4]]◁/think▷ [0.28, 0.5, 0.52, 0.7]", [(None, (0.28, 0.5, 0.52, 0.7))]),
    "LFM2.5-VL": ('[{"label": "cat", "bbox": [0.1, 0.2, 0.3, 0.4]}]', [("cat", (0.1, 0.2, 0.3, 0.4))]),
    "single quotes, as Python prints": ("[{'bbox_2d': (10, 20, 30, 40), 'label': 'cat'}]", [ONE]),
    "a quote inside a word": (
        "[{'label': 'the dog's ball', 'bbox': [1, 2, 3, 4]}]",
        [("the dog's ball", (1, 2, 3, 4))],
    ),
    "names without quotes": ("[{bbox_2d: [10, 20, 30, 40], label: cat}]", [ONE]),
    "commas too many": ('[{"bbox_2d": [10, 20, 30, 40,], "label": "cat",},]', [ONE]),
    "commas too few": (
        '[{"bbox_2d": [10 20 30 40] "label": "cat"} {"label": "dog" "bbox_2d": [50 60 70 80]}]',
        [ONE, TWO],
    ),
    "numbers as texts": ('[{"bbox_2d": ["10", "20", "30", "40"], "label": "cat"}]', [ONE]),
    "all numbers in a text": ('[{"bbox_2d": "10, 20, 30, 40", "label": "cat"}]', [ONE]),
    "names as keys": ('{"cat": [10, 20, 30, 40], "dog": [[50, 60, 70, 80]]}', [ONE, TWO]),
    "a list under a key": ('{"objects": [{"name": "cat", "box": [10, 20, 30, 40]}]}', [ONE]),
    "named corners": ('[{"label": "cat", "x_min": 10, "y_min": 20, "x_max": 30, "y_max": 40}]', [ONE]),
    "named corners in a box": ('[{"label": "cat", "bbox": {"x1": 10, "y1": 20, "x2": 30, "y2": 40}}]', [ONE]),
    "left, top, width, height": ('[{"label": "cat", "box": {"x": 10, "y": 20, "width": 20, "height": 20}}]', [ONE]),
    "two corners": ('[{"label": "cat", "bbox": [[10, 20], [30, 40]]}]', [ONE]),
    "several boxes of one object": (
        '{"label": "cat", "bboxes": [[10, 20, 30, 40], [5, 6, 7, 8]]}',
        [ONE, ("cat", (5, 6, 7, 8))],
    ),
    "only numbers": ("[[10, 20, 30, 40]]", NAMELESS),
    "numbers in a sentence": ("The cat sits at [10, 20, 30, 40].", NAMELESS),
    "name and numbers in one list": ('[["cat", 10, 20, 30, 40], ["dog", [50, 60, 70, 80]]]', [ONE, TWO]),
    "names of other alphabets": ('[{"label": "кошка 猫", "bbox": [1, 2, 3, 4]}]', [("кошка 猫", (1, 2, 3, 4))]),
    "escaped names": ('[{"label": "caf\\u00e9 \\"x\\"", "bbox": [1, 2, 3, 4]}]', [('café "x"', (1, 2, 3, 4))]),
    "nothing": ("[]", []),
    "nothing, in words": ("There are no cats in this image.", []),
    "a plain answer in GLM's box": ("<|begin_of_box|>No<|end_of_box|>", []),
    "a thought without an end": ("<think>Perhaps [1, 2, 3, 4] or", []),
}
BROKEN: dict[str, tuple[str, Marks, int]] = {
    "cut in a number": ('[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}, {"bbox_2d": [50, 60, 7', [ONE], 1),
    "cut behind a box": ('[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}, {"bbox_2d": [50, 60, 70, 80]', [ONE], 1),
    "cut in a name": (
        '[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}, {"bbox_2d": [50, 60, 70, 80], "label": "d',
        [ONE],
        1,
    ),
    "cut between objects": ('[{"bbox_2d": [10, 20, 30, 40], "label": "cat"},', [ONE], 0),
    "cut in a box of tags": ("<ref>cat</ref><box>10 20 30 40</box><ref>dog</ref><box>50 60 7", [ONE], 1),
    "cut right behind the pairs": ("<|object_ref_start|>cat<|object_ref_end|><|box_start|>(10,20),(30,40)", [ONE], 0),
    "three numbers": (
        '[{"bbox_2d": [10, 20, 30], "label": "cat"}, {"bbox_2d": [50, 60, 70, 80], "label": "dog"}]',
        [TWO],
        1,
    ),
    "five numbers": ("<ref>cat</ref><box>10 20 30 40 50</box>", [ONE], 1),
    "words for numbers": ('[{"bbox_2d": ["left", "top", 3, 4], "label": "cat"}]', [], 1),
    "nothing for a box": ('[{"bbox_2d": null, "label": "cat"}]', [], 1),
    "endless numbers": ('[{"bbox_2d": [1e999, 2, 3, 4], "label": "cat"}]', [], 1),
    "a missing bracket": (
        '[{"bbox_2d": [10, 20, 30, 40, "label": "cat"}, {"bbox_2d": [50, 60, 70, 80], "label": "dog"}]',
        [TWO],
        1,
    ),
}


def marks(text: str) -> Marks:
    return [(mark.label, mark.numbers) for mark in read_answer(text).marks]


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers(name: str) -> None:
    text, expected = WHOLE[name]
    assert marks(text) == expected
    assert read_answer(text).n_dropped == 0


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_lost_is_counted(name: str) -> None:
    text, expected, n_dropped = BROKEN[name]
    assert marks(text) == expected
    assert read_answer(text).n_dropped == n_dropped


def test_what_was_read_comes_along() -> None:
    (mark,) = read_answer('[{"bbox": [1, 2, 3, 4], "category": "Title", "text": "A  Report"}]').marks
    assert (mark.label, mark.text) == ("Title", "A Report")
    (mark,) = read_answer("<text><loc_1><loc_2><loc_3><loc_4>A line</text>").marks
    assert (mark.label, mark.text) == ("text", "A line")


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda name: bool(name.strip())
)
objects = st.lists(st.tuples(names, st.tuples(*[st.integers(-50, 2000)] * 4)), max_size=6)


@settings(deadline=None)
@given(objects)
def test_every_box_of_a_well_formed_answer_is_found(given_objects: list[tuple[str, tuple[int, ...]]]) -> None:
    text = json.dumps([{"bbox_2d": box, "label": name} for name, box in given_objects], ensure_ascii=False)
    expected = [(" ".join(name.split()), tuple(map(float, box))) for name, box in given_objects]
    assert marks(text) == expected
    assert marks(f"```json\n{text}\n```") == expected


@settings(deadline=None)
@given(objects, st.data())
def test_a_cut_answer_has_the_first_boxes_and_no_others(
    given_objects: list[tuple[str, tuple[int, ...]]], data: st.DataObject
) -> None:
    text = json.dumps([{"bbox_2d": box, "label": name} for name, box in given_objects])
    cut = text[: data.draw(st.integers(0, len(text)))]
    found = marks(cut)
    assert found == marks(text)[: len(found)]
    assert read_answer(cut).n_dropped <= 1


fragments = st.sampled_from(
    [
        *("[", "]", "{", "}", "(", ")", '"', "'", ":", ",", "\\", "1", "2.5", "-3", "e5", "é", "bbox_2d", "label"),
        *("<box>", "</box>", "<ref>", "</ref>", "<|box_start|>", "<|det|>", "<|begin_of_box|>", "<|object_ref_start|>"),
        *("<loc_5>", "<text>", "<think>", "</think>"),
    ]
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(fragments, max_size=60).map("".join)))
def test_no_answer_is_too_odd(text: str) -> None:
    for mark in read_answer(text).marks:
        assert len(mark.numbers) in (2, 4)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 50_000, '{"a":' * 60_000, "[(" * 60_000, '"' * 50_000, "<box>" * 9000, "<ref>" * 9000]
)
@pytest.mark.timeout(60)  # a time that grows with the square of the length would be minutes
def test_hostile_nesting_ends_without_overflow(text: str) -> None:
    assert read_answer(text).marks == ()
