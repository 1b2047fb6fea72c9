"""Journals that a disk or somebody has changed: what is not a row any more is left out, and everything else is kept."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm import UsageError
from ggufvlm.batch.journal.journal import Journal, read_rows
from ggufvlm.batch.journal.readonly_journal import OldRows
from ggufvlm.batch.journal.rows import COLUMNS, Row
from ggufvlm.batch.outputs.writers import write_csv, write_parquet

OUT = Path("out.jsonl")
FAILED = {"class": "ImageError", "text": "broken.png: damaged"}


def row(number: int, answer: str | None) -> Row:
    found = dict.fromkeys(COLUMNS) | {"id": f"shots/s{number}.png", "path": f"shots/s{number}.png", "model": "demo"}
    if answer is None:
        return found | {"error": FAILED}
    found |= {"prompt": "Just *JSON*, J\u00fcrgen?", "answer": answer, "finish_reason": "stop", "retries": 0}
    found |= {"width": 196, "height": 140, "n_prompt": 55, "time_encode": 0.0123, "time_decode": 0.2, "seed": 17}
    return found | dict.fromkeys(("key", "files", "image"), f"{number:064x}") | {"settings_hash": "ab" * 16}


ROWS = [row(number, f"A *Jolly* cat, {number} J \u00e9.") for number in range(5)] + [row(5, None)]
LINES = [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in ROWS]
WHOLE = b"".join(LINES)


def check(data: bytes, touched: set[int]) -> None:
    """What a run finds in the file, and makes of it; rows that were not touched have to be in it."""
    OUT.write_bytes(data)
    untouched = [each for number, each in enumerate(ROWS) if number not in touched]
    for read in (lambda: list(read_rows(OUT)), lambda: _all(OldRows(OUT))):
        assert [each for each in read() if each in untouched] == untouched
    with Journal(OUT) as journal:
        assert [each for each in journal.rows() if each in untouched] == untouched
        journal.put_in_order()
        journal.sync()
        rows = list(journal.rows())
        write_csv(Path("out.csv"), rows)
        write_parquet(Path("out.parquet"), rows)
    assert [json.loads(line) for line in OUT.read_bytes().splitlines()] == rows
    assert [each for each in rows if each in untouched] == untouched


def _all(old: OldRows) -> Iterator[Row]:
    for _, place in old.index.places():
        yield old.read(place)


def flip(place: int, bit: int) -> tuple[bytes, set[int]]:
    data = bytearray(WHOLE)
    data[place] ^= 1 << bit
    line = WHOLE.count(b"\n", 0, place)
    return bytes(data), {line, line + 1} if WHOLE[place] == ord("\n") else {line}


def test_a_flipped_bit_costs_its_own_line_at_most(folder: Path) -> None:
    rng = random.Random(3)
    ends = [place for place, byte in enumerate(WHOLE) if byte == ord("\n")]
    made = [place for place, byte in enumerate(WHOLE) if byte in b"J*"][:12]  # one bit from the end of a line
    for place in (*rng.sample(range(len(WHOLE)), 60), *ends, *made):
        check(*flip(place, rng.randrange(8)))
    for place in made:
        check(*flip(place, (WHOLE[place] ^ ord("\n")).bit_length() - 1))


@pytest.mark.slow
def test_many_flipped_bits_cost_their_own_line_at_most(folder: Path) -> None:
    rng = random.Random(5)
    for _ in range(500):
        check(*flip(rng.randrange(len(WHOLE)), rng.randrange(8)))


def test_zeros_of_a_power_cut_cost_the_lines_they_lie_in(folder: Path) -> None:
    rng = random.Random(4)
    for _ in range(20):
        start = rng.randrange(len(WHOLE))
        end = min(len(WHOLE), start + rng.randrange(1, 1500))
        touched = set(range(WHOLE.count(b"\n", 0, start), WHOLE.count(b"\n", 0, end) + 1))
        check(WHOLE[:start] + bytes(end - start) + WHOLE[end:], touched)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": None},
        {"key": "xyz"},
        {"key": ["a"]},
        {"files": "12 zz"},
        {"answer": {"a": 1}},
        {"error": "text"},
        {"error": {"class": 1, "text": None}},
        {"seed": 10**30},
        {"width": 1.5},
        {"time_encode": float("inf")},
        {"n_prompt": True},
        {"model": "\ud800"},
        {"answer": [[[[]]]]},
    ],
)
def test_values_that_no_row_has_cost_their_line(folder: Path, change: Row) -> None:
    lines = [*LINES]
    lines[2] = json.dumps(ROWS[2] | change).encode() + b"\n"
    check(b"".join(lines), {2})


def test_a_line_nested_without_end_costs_itself(folder: Path) -> None:
    check(b"".join([*LINES[:3], b"[" * 100_000 + b"]" * 100_000 + b"\n", *LINES[3:]]), set())


def test_the_only_row_may_be_the_damaged_one(folder: Path) -> None:
    OUT.write_bytes(LINES[0].replace(b'"answer"', b'"anqwer"'))
    with Journal(OUT) as journal:
        assert list(journal.rows()) == []


@pytest.mark.parametrize(
    "foreign",
    [
        LINES[0] + b'{"image": "a.png", "caption": "mine"}\n',
        LINES[0] + b'"mine"\n' + LINES[1],
        b"a,b\n1,2\n3,4\n",
        LINES[0] + b"a,b\n1,2\n3,4\n",
        bytes(range(256)) * 4,
        b"\n".join(bytes([n]) * 40 for n in range(11, 60)) + b"\n",
    ],
)
def test_a_file_with_contents_of_others_is_refused_and_not_touched(folder: Path, foreign: bytes) -> None:
    OUT.write_bytes(foreign)
    with pytest.raises(UsageError, match="something else"):
        Journal(OUT)
    assert OUT.read_bytes() == foreign
