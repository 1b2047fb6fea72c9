"""The pages of the guide, as files beside this module. ``README.md`` lists them, a line for each topic."""

from __future__ import annotations

import re
from pathlib import Path

INDEX = "README"
"""The page that lists the others; it is no topic itself."""

_FOLDER = Path(__file__).parent
_ENTRY = re.compile(r"^- \[([\w-]+)\]\(\1\.md\)", re.MULTILINE)


def read_page(topic: str) -> str:
    """The Markdown of a page, with links to other pages as ``[topic](topic.md)``."""
    return (_FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def topics() -> list[str]:
    """The topics in the order in which the index lists them."""
    return _ENTRY.findall(read_page(INDEX))


def topic_about(command: str) -> str | None:
    """The topic whose page sends its reader to ``ggufvlm COMMAND --help``, or None."""
    return next((topic for topic in topics() if f"`ggufvlm {command} --help`" in read_page(topic)), None)
