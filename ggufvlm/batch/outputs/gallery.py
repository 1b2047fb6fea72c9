"""A page that shows all rows: images, answers, errors, a filter. One file, which asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import escape
from itertools import islice
from pathlib import Path

from ggufvlm.batch.inputs.expand import kind_of_file
from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.rows import Row
from ggufvlm.errors import GGUFVLMError, ImageError, UsageError
from ggufvlm.files import replacing_durably
from ggufvlm.media import Image, load
from ggufvlm.media.decoding.kinds import FileKind, identify
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.media.pixels.resize import thumbnail

_READERS, _AHEAD = 2, 16
_PREVIEW_SIDE = 256  # pixels
_PREVIEW_DPI = 96.0
_LONG, _MANY_LINES = 250, 7  # what may not fit into its box has to be reached from the keyboard

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<form role="search">
<label>Filter <input type="search" autocomplete="off" placeholder="words of answers and names"></label>
<label><input type="checkbox"> errors only</label>
<output aria-live="polite"></output>
</form>
</header>
<main>
<ul>
"""
_TAIL = """</ul>
</main>
<script>{script}</script>
</body>
</html>
"""
# no outside requests, and nothing of an answer can run even if it got past the escaping
_POLICY = "default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'"


def check_page(path: Path) -> None:
    """Make sure that a gallery replaces nothing but a gallery.

    Raises:
        UsageError: another file is there.
    """
    start = _HEAD.partition("{policy}")[0].encode() + escape(_POLICY.partition("{style}")[0]).encode()
    with as_output_error(shown(path)):
        if not path.is_file() or not path.stat().st_size:
            return
        with path.open("rb") as file:
            if file.read(len(start)) == start:
                return
    raise UsageError(f"--html {shown(path)}: there already, and no gallery", hint="name another page, or move it away")


def write_gallery(path: Path, rows: Iterable[Row], *, title: str) -> None:
    """Write the page in one step.

    Args:
        path: of the HTML file.
        rows: in the order they are shown. Images that are files of this machine get a thumbnail.
        title: what stands above.

    Raises:
        OutputError: it cannot be written.
    """
    style, script = _asset("gallery.css"), _asset("gallery.js")
    policy = _POLICY.format(style=_sha256(style), script=_sha256(script))
    with as_output_error(shown(path)), replacing_durably(path) as file:
        file.write(_HEAD.format(policy=escape(policy), title=escape(title), style=style).encode())
        for entry in _entries(rows):
            file.write(entry.encode("utf-8", "replace"))
        file.write(_TAIL.format(script=script).encode())


def _entries(rows: Iterable[Row]) -> Iterator[str]:
    remaining = iter(rows)
    with ThreadPoolExecutor(_READERS, "ggufvlm-gallery") as pool:
        while some := list(islice(remaining, _AHEAD)):
            yield from pool.map(_entry, some)


def _entry(row: Row) -> str:
    error, answer = row["error"], row["answer"]
    kind = ' class="error"' if error else ""
    said = f'<p class="answer"{_scrolls(answer)}>{escape(answer)}</p>' if answer is not None else ""
    failed = f"<p><strong>{escape(error['class'])}</strong> {escape(error['text'])}</p>" if error else ""
    name = f'<p class="name">{escape(row["id"])}</p>'
    return f"<li{kind}><figure>{_thumb(row)}<figcaption>{said}{failed}{name}</figcaption></figure></li>\n"


def _scrolls(answer: str) -> str:
    return ' tabindex="0"' if len(answer) > _LONG or answer.count("\n") > _MANY_LINES else ""


def _thumb(row: Row) -> str:
    data = _preview(row)
    if data is None:
        return '<p class="thumb">no preview</p>'
    encoded = base64.b64encode(data).decode()
    alt = escape(row["answer"] or row["id"], quote=True)
    return f'<img class="thumb" alt="{alt}" src="data:image/jpeg;base64,{encoded}">'


def _preview(row: Row) -> bytes | None:
    """What a row is about as a JPEG file, the first page of a document; ``None`` if there is no file of it here."""
    path = Path(row["path"]) if row["path"] and "://" not in row["path"] else None
    if path is None or not row["image"]:
        return None
    try:
        if kind_of_file(path) is FileKind.IMAGE:
            return thumbnail(load(path), _PREVIEW_SIDE)
        return thumbnail(_page_or_frame(path, row), _PREVIEW_SIDE)
    except GGUFVLMError:
        return None


def _page_or_frame(path: Path, row: Row) -> Image:
    document = open_document(identify(path), Selection(dpi=_PREVIEW_DPI, frames=1))
    place = row["page"] if document.n_pages else row["time"]
    places = document.places[:1] if place is None else (place,)
    for _, image in document.images(places):
        return image
    raise ImageError(f"{path}: nothing is shown there")


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    import hashlib

    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
