"""Answers equal the Transformers implementation's, computed on the same weights in float32 (tests/data/qwen2vl)."""

from __future__ import annotations

import json
from pathlib import Path

from ggufvlm import VLM


def test_reference_answers_are_reproduced(demo: VLM, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "qwen2vl" / "reference.jsonl").read_text().splitlines()]
    assert len(rows) == 100
    different = []
    for row in rows:
        answer = demo.describe(data / "qwen2vl" / row["image"], row["question"], temperature=0.0)
        if answer.text != row["reference"]:
            different.append(f"{row['image']} {row['question']} reference {row['reference']!r}, ours {answer.text!r}")
    assert different == []
