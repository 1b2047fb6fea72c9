"""What the names of GGUF files say: parts of split models."""

from __future__ import annotations

import re
from pathlib import Path

from ggufvlm.errors import ModelError

SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf")


def split_parts(path: Path) -> list[Path]:
    """All files of a model split by llama.cpp's gguf-split, first to last; ``[path]`` for a model in one file.

    Raises ModelError if ``path`` is not the first part, or if parts are missing beside it.
    """
    found = SPLIT_NAME.fullmatch(path.name)
    if found is None:
        return [path]
    no, count = int(found["no"]), max(1, int(found["count"]))
    parts = [path.with_name(f"{found['stem']}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
    if no != 1:
        raise ModelError(f"{path.name} is part {no} of a split model: the first is wanted", hint=f"-m {parts[0]}")
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{path.name}: {len(missing)} of {count} parts missing: {missing[0]}{more}",
            hint="all parts of a split model must lie in one folder",
        )
    return parts
