"""Every pattern that meets what strangers wrote takes time in proportion to its length, and not to its square or worse.

A text of twice or four times the length may take about that much longer. What is measured is that ratio, several times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ggufvlm.batch.inputs.cells import _BASE64
from ggufvlm.batch.inputs.templates import _PIECE as _TEMPLATE_PIECE
from ggufvlm.cache.limits import _SIZE
from ggufvlm.cli.chat.completion import _last_word
from ggufvlm.constraints.constraint import _STRING_OR_SPACE
from ggufvlm.constraints.depth import lark_references
from ggufvlm.constraints.gbnf_reader import _TOKEN
from ggufvlm.gguf.names import quant_of, split_parts
from ggufvlm.grounding.answers import read_answer
from ggufvlm.grounding.lenient import read_values
from ggufvlm.media.decoding.kinds import _PDF
from ggufvlm.media.metadata.xmp import _TAG
from ggufvlm.media.sources.data_uri import _HEAD
from ggufvlm.media.sources.patterns import ends_like_glob
from ggufvlm.models.hub.select import _OTHER, _PROJECTOR
from ggufvlm.server.durations import parse_duration
from ggufvlm.server.fetch.remote_address import _NAME
from ggufvlm.tasks.ocr.doctags import _LANGUAGE, _NOISE
from ggufvlm.tasks.ocr.markup import _DET, _FENCE, _REF
from ggufvlm.tasks.ocr.pages import _BLOCK, _ENDS_SENTENCE
from ggufvlm.tasks.ocr.tables import _TABLE

SHORT, TIMES, TRIES = 4_000, 4, 4
NOTICEABLE = 0.02
"""Seconds below which a ratio is chance."""


def search_all(pattern: Any) -> Callable[[Any], object]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


# what looks, the beginning of a text, what is repeated in it, and an end that spoils it
LOOKS: dict[str, tuple[Callable[[Any], object], str, tuple[str, ...], str]] = {
    "lengths of time": (parse_duration, "", ("1", "1m", "1.", "."), "x"),
    "sizes of a cache": (_SIZE.fullmatch, "1", ("1", " ", "1."), "x"),
    "Base64 in a cell": (lambda text: _BASE64.fullmatch(text.rstrip()), "A" * 64, (" ", "A", "=", "A "), "!"),
    "a template's fields": (search_all(_TEMPLATE_PIECE), "{a", ("{", " ", ".", "{a", "a"), "!"),
    "the word before the cursor": (_last_word, "a", ("\\", "a", "\\ ", "\\a"), " "),
    "a JSON answer": (search_all(_STRING_OR_SPACE), '"', ('\\"', '"\\', "\\", " ", "a"), ""),
    "a Lark grammar": (lark_references, "a", ("a", "_a", "/", '"', "\\/", '\\"', "a ", "/\\"), "|"),
    "GBNF": (_TOKEN.match, "{1,", (" ", "1", "[", "\\]"), "!"),
    "a GBNF class": (_TOKEN.match, "[", ("[", "\\]", "\\\\", "a"), ""),
    "names of GGUF files": (quant_of, "a-", ("-", "Q4_", "Q4_K-", ".", "a"), "!"),
    "names of parts": (lambda text: split_parts(Path(text)), "a", ("-00001-of-", "-", "0", "-of-"), "x.gguf"),
    "boxes": (read_answer, "(", ("1", "(1", " ", "(1,2),", "<|", "<a>", "<loc_1>", "<ref>", "<|ref|>", "<box>"), "!"),
    "nearly JSON": (read_values, "[", ("1", "[", "{", '"', "1.", " ", "-"), "!"),
    "where a PDF begins": (lambda text: _PDF.match(text.encode()), "", (" ", "%PDF", "%", "<"), ""),
    "a tag in XMP": (lambda text: _TAG.match(text.encode()), "<", ("<", '"', "'", "a", '<"', "\"'"), ""),
    "data URIs": (_HEAD.match, "data:", ("a", "a/", ";", ";a=", "+/"), "!"),
    "glob patterns": (ends_like_glob, "*", ("*", "*.", ".", "/*", "[", "?.", "a"), "!"),
    "files of a repository": (search_all(_OTHER), "", ("-", "mmproj", ".", "a-"), "!"),
    "projectors of a repository": (search_all(_PROJECTOR), "", ("-", "mmproj", "-projector", "."), "!"),
    "host names": (_NAME.fullmatch, "a", (".", "a.", "a", "-"), "!"),
    "languages in DocTags": (_LANGUAGE.match, "", (" ", "<_", "<_a"), "!"),
    "noise in DocTags": (search_all(_NOISE), "", ("<loc_1", "<", "<|end", "</"), "!"),
    "DeepSeek's references": (search_all(_REF), "", ("<|ref|>", "<|ref|>a<|/ref|>", "<|/ref|>", " "), "!"),
    "DeepSeek's boxes": (search_all(_DET), "", ("<|det|>", "<|det|>a[", "[", " "), "!"),
    "fences": (_FENCE.fullmatch, "```", ("\n```", "```", "\n", " "), "!"),
    "blocks of a page": (_BLOCK.match, "", (" ", "1", "#"), "!"),
    "ends of sentences": (_ENDS_SENTENCE.search, ".", (".", '"', '."'), "x"),
    "tables": (search_all(_TABLE), "", ("<table", "</table", "<table>", "</table ", " "), "!"),
}


def seconds(look: Callable[[Any], object], text: str) -> float:
    """The least of several, so that what else the machine does counts for little."""
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        with suppress(Exception):  # refusing it is as good
            look(text)
        best = min(best, time.perf_counter() - began)
    return best


@pytest.mark.parametrize("what", LOOKS)
def test_a_text_four_times_as_long_takes_about_four_times_as_long(what: str) -> None:
    look, begin, repeated, end = LOOKS[what]
    for word in repeated:
        texts = [begin + word * (n // len(word)) + end for n in (SHORT, SHORT * TIMES)]
        for _ in range(TRIES):
            short, long = (seconds(look, text) for text in texts)
            if long < NOTICEABLE or long < short * TIMES * 2:  # the square would be sixteen times as long
                break
        else:
            pytest.fail(f"{word!r}: {short:.3f} s for {SHORT} characters, {long:.3f} s for {SHORT * TIMES}")
