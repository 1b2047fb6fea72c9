"""``batch -o -``: rows on stdout as JSON lines. Nothing is kept, so that another run begins anew."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.errors import UsageError
from ggufvlm.files import unfinished

if TYPE_CHECKING:
    from ggufvlm.batch.journal.rows import Row
    from ggufvlm.cli.batch.options import RowOptions

STDOUT = Path("-")


@contextmanager
def kept_for_now(rows: RowOptions) -> Iterator[RowOptions]:
    """The options with a file in place of stdout, which is gone behind this block: a run looks up what it has written.

    Raises:
        UsageError: options about an output that stays.
    """
    if rows.restart:
        raise UsageError("--restart: nothing is kept of what goes to stdout", hint="-o captions.jsonl")
    with tempfile.TemporaryDirectory(prefix="ggufvlm-") as folder:
        path = Path(folder, "stdout.jsonl")
        with unfinished(path):
            yield replace(rows, out=path)


def write_rows(rows: Iterable[Row]) -> None:
    """Write rows that were made."""
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()
