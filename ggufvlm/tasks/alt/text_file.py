"""Text files whose bytes stay as they are, but for what is inserted."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.errors import InputError, OutputError, UsageError
from ggufvlm.files import replacing_durably
from ggufvlm.tasks.alt.gap import Gap, insert
from ggufvlm.tasks.alt.html_gaps import html_gaps
from ggufvlm.tasks.alt.markdown_gaps import markdown_gaps

HTML = (".html", ".htm", ".xhtml")
MARKDOWN = (".md", ".markdown", ".mdown", ".mkd")
OTHERS = (".mdx", ".astro", ".jsx", ".tsx", ".vue", ".svelte")
"""Where images without alternative texts may be, too, and nothing here looks for them."""
_SIDES = (("---", "a"), ("+++", "b"))
_FRONT_MATTER = re.compile(
    r"\ufeff?(---|\+\+\+)[ \t]*\r?\n.*?^(?:\1|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_NOT_OURS = ("node_modules", "site-packages", "__pycache__")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A web page or Markdown file in memory.

    Attributes:
        root: the folder that addresses with a leading slash begin in.
        codec: what its bytes are written in: UTF-8, or else any one-byte code.
    """

    path: Path
    root: Path
    text: str
    codec: str

    def gaps(self) -> list[Gap]:
        """The images without alternative text."""
        text = _without_front_matter(self.text)
        return html_gaps(text) if self.path.suffix.lower() in HTML else markdown_gaps(text)

    def line_of(self, gap: Gap) -> int:
        """Number of the line, from 1."""
        return self.text.count("\n", 0, gap.at) + 1

    def filled(self, words: Iterable[tuple[Gap, str]]) -> str:
        """The text with alternative texts; characters that the file cannot hold become references."""
        pieces = [(gap.at, gap.filled(said)) for gap, said in words]
        if self.codec != "utf-8":
            pieces = [(at, piece.encode("ascii", "xmlcharrefreplace").decode()) for at, piece in pieces]
        return insert(self.text, pieces)

    def diff(self, new: str) -> bytes:
        """A unified diff in the file's own bytes, as ``patch -p1`` and ``git apply`` take it."""
        old_lines, new_lines = _LINE.findall(self.text), _LINE.findall(new)
        _, _, *lines = difflib.unified_diff(old_lines, new_lines) or ("", "")
        whole = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
        name = Path(os.path.realpath(self.path)).relative_to(os.path.realpath(self.diff_folder())).as_posix()
        heads = (os.fsencode(f"{mark} {_diff_name(f'{side}/{name}')}\n") for mark, side in _SIDES)
        return b"".join(heads) + "".join(whole).encode(self.codec)

    def diff_folder(self) -> Path:
        """Where its diff is to be applied: in the working folder, or in its root if it lies elsewhere."""
        return self.root if _leads_out(self.path, Path()) else Path()

    def write(self, new: str) -> None:
        """Put a new text in its place, all or nothing; its permissions stay.

        Raises:
            OutputError: it cannot be written, or has changed since it was read.
        """
        target = Path(os.path.realpath(self.path))
        try:
            if _leads_out(self.path, self.root) or target.read_bytes() != self.text.encode(self.codec):
                raise OutputError(f"{self.path}: has changed meanwhile", hint="run the command again")
            with replacing_durably(target) as file:
                file.write(new.encode(self.codec))
                with contextlib.suppress(PermissionError):  # file systems without permissions
                    shutil.copymode(target, file.name)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def _without_front_matter(text: str) -> str:
    """The text with blanks in place of its front matter, which is YAML, TOML or JSON."""
    found = _FRONT_MATTER.match(text)
    return text if found is None else re.sub(r"[^\r\n]", " ", found[0]) + text[found.end() :]


def _diff_name(name: str) -> str:
    """A name as git writes and GNU patch reads it: blanks need a tab behind the name, other characters quotes."""
    if re.search(r'[\x00-\x1f\x7f"\\]', name):
        escaped = re.sub(r'["\\]', lambda found: f"\\{found[0]}", name)
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\{ord(found[0]):03o}", escaped) + '"'
    return f"{name}\t" if " " in name else name


def _leads_out(path: Path, root: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def read_text_file(path: Path, root: Path) -> TextFile:
    """Read a web page or Markdown file.

    Raises:
        InputError: missing, not allowed, no regular file, a link out of the root, in a code of two bytes a character.
    """
    if _leads_out(path, root):
        raise InputError(f"{path}: a link that leads out of {root}", hint="name the file itself to change it")
    if not path.is_file() and path.exists():
        raise InputError(f"{path}: not a regular file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if b"\0" in data:
        raise InputError(f"{path}: not text, or UTF-16", hint="save it as UTF-8")
    try:
        return TextFile(path, root, data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return TextFile(path, root, data.decode("latin-1"), "latin-1")


def find_text_files(arguments: list[Path]) -> list[tuple[Path, Path]]:
    """The files that are named, and those in the folders that are named, each with its root.

    Raises:
        InputError: one does not exist, or is a folder without such files.
        UsageError: one is neither HTML nor Markdown.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        if argument.is_dir():
            below = _below(argument)
            if not below:
                raise InputError(f"{argument}: no HTML and no Markdown there", hint=_others_below(argument))
            found.update(dict.fromkeys(below, argument))
        elif not argument.exists():
            raise InputError(f"no such file: {argument}")
        elif argument.suffix.lower() not in HTML + MARKDOWN:
            raise UsageError(f"{argument}: neither HTML nor Markdown", hint=f"{' '.join(HTML + MARKDOWN)}")
        else:
            found.setdefault(
                argument, Path(os.path.realpath(argument)).parent if argument.is_symlink() else argument.parent
            )
    return list(found.items())


def _others_below(folder: Path) -> str | None:
    endings = sorted({path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in OTHERS})
    return f"{' '.join(endings)} are not read" if endings else None


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_OURS)
        found += [Path(place, name) for name in sorted(names) if Path(name).suffix.lower() in HTML + MARKDOWN]
    return found
