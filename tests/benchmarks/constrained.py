"""What a constraint costs: tokens of answers held to a schema against free ones, in turn, in one process.

    python -m tests.benchmarks.constrained MODEL MMPROJ IMAGE [--repeat 5] [--tokens 64]

Random weights never say what a schema wants, so that nearly every token is masked: the worst case. The pattern that
allows everything is the best one: each token is checked and none masked.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from ggufvlm import VLM, Answer
from ggufvlm.constraints.constraint import Constraint

RECORDS = Constraint.from_schema(
    {
        "type": "array",
        "minItems": 200,
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "minimum": 0}},
            "required": ["name", "n"],
            "additionalProperties": False,
        },
    }
)
SHAPES = {"masked at nearly every token": RECORDS, "checked at every token": Constraint.regex(r"(?s:.)*")}


def per_token(answer: Answer) -> float:
    """Milliseconds."""
    return 1000 * answer.times.decode / answer.usage.n_generated


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("mmproj", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args()
    with VLM.load(str(given.model), mmproj=given.mmproj) as vlm:

        def ask(constraint: Constraint | None) -> float:
            return per_token(
                vlm.describe(
                    given.image,
                    "Describe this image.",
                    constraint=constraint,
                    temperature=1.0,
                    seed=1,
                    max_tokens=given.tokens,
                    repetition_guard=False,
                )
            )

        ask(RECORDS)  # the vocabulary is made ready for grammars once, and the image encoded
        for name, shape in SHAPES.items():
            pairs = [(ask(None), ask(shape)) for _ in range(given.repeat)]
            ratios = [held / free for free, held in pairs]
            free, held = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"{name}: free {free:.1f} ms, held {held:.1f} ms a token, "
                f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )


if __name__ == "__main__":
    main()
