"""README and guide as tests see them: links, inline code, fenced snippets, and the commands in those."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import ggufvlm

ROOT = Path(__file__).parents[2]
GUIDE = Path(ggufvlm.__file__).parent / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Snippet:
    """A fenced block."""

    page: Path
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{name_of(self.page)}: {self.text.strip().splitlines()[0]}"


def snippets(language: str | None = None) -> list[Snippet]:
    return [
        Snippet(page, match[1], match[2])
        for page in PAGES
        for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
        if language in (None, match[1])
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of each link."""
    return _LINK.findall(prose(page))


def inline_code(page: Path) -> list[str]:
    return _CODE.findall(prose(page))


@dataclass
class Stage:
    """A program of a pipeline, with the files that it is given as stdin."""

    words: list[str] = field(default_factory=list)
    stdin: str | None = None


def pipelines(text: str) -> list[list[Stage]]:
    """The command lines of a shell snippet, each as the programs between its bars."""
    found: list[list[Stage]] = []
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        pipeline, redirect = [Stage()], ""
        for word in lexer:
            if word == "&&":
                found.append(pipeline)
                pipeline = [Stage()]
            elif word == "|":
                pipeline.append(Stage())
            elif word in ("<", ">"):
                redirect = word
            elif redirect:
                pipeline[-1].stdin = word if redirect == "<" else pipeline[-1].stdin
                redirect = ""
            else:
                pipeline[-1].words.append(word)
        if pipeline[-1].words:
            found.append(pipeline)
    return found
