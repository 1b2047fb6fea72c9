"""What can be told about a file before a decoder sees it: from its ending, and from its first bytes."""

from __future__ import annotations

import re

_READABLE = (
    ".apng .avif .bmp .cur .dds .dib .gif .heic .heif .hif .icns .ico .j2k .jfif .jp2 .jpe .jpeg .jpf .jpg .jpx "
    ".pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi .sgi .tga .tif .tiff .webp .xbm .xpm"
)
_UNREADABLE = ".ai .arw .cr2 .cr3 .dng .eps .nef .orf .ps .raf .rw2 .svg"

IMAGE_SUFFIXES = frozenset(_READABLE.split())
"""Endings of files that can be read, lower case, with the dot."""

_DOCUMENTS = ".pdf .3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .webm .wmv"
DOCUMENT_SUFFIXES = frozenset(_DOCUMENTS.split())
"""Endings of files that hold many images: PDFs and videos."""

_SCANS = frozenset([".tif", ".tiff"])

_SHARED = frozenset([".dat", ".m2t", ".mod", ".mts", ".tod", ".ts", ".vob"])
"""Endings of videos that TypeScript, Go, music and others have, too."""

_MEANT_AS_IMAGE = IMAGE_SUFFIXES.union(_UNREADABLE.split(), DOCUMENT_SUFFIXES)


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image that can be read."""
    return _suffix(name) in IMAGE_SUFFIXES


def looks_like_image_name(name: str) -> bool:
    """Whether whoever typed this name meant an image, readable or not (``.svg``, camera raw), or a PDF or video."""
    return _suffix(name) in _MEANT_AS_IMAGE


def is_document_name(name: str) -> bool:
    """Whether a file name ends like a PDF or a video."""
    return _suffix(name) in DOCUMENT_SUFFIXES


def may_be_scan_name(name: str) -> bool:
    """Whether a file name ends like a TIFF, which holds one image or several pages."""
    return _suffix(name) in _SCANS


def may_be_video_name(name: str) -> bool:
    """Whether a file name ends like a video and like something else as well: only its contents can tell."""
    return _suffix(name) in _SHARED


def _suffix(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


_TO_IMAGE = "convert it to PNG or JPEG first"
_FOREIGN: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind, hint)
    for pattern, kind, hint in (
        (rb"%PDF-", "a PDF, not an image", "its pages can be asked about: ggufvlm describe FILE.pdf"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript is not read", _TO_IMAGE),
        (rb"version https://git-lfs", "a Git LFS pointer, not the image itself", "git lfs pull"),
        (rb"....ftypcrx |FUJIFILMCCD-RAW|IIU\0|IIRO|IIRS|MMOR|\0MRM", "a camera raw file", _TO_IMAGE),
    )
)


_VIDEO = ("a video, not an image", "its frames can be asked about: ggufvlm describe FILE.mp4")
_VIDEO_START = re.compile(
    rb"\x1a\x45\xdf\xa3"  # Matroska, WebM
    rb"|\0\0\x01[\xb3\xba]"  # MPEG
    rb"|RIFF....AVI |FLV\x01|OggS|\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    re.DOTALL,
)
_IMAGE_BRANDS = frozenset(
    b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 avif avis jxl jp2 jpx jpm crx".split()
)
_ATOMS = frozenset((b"moov", b"mdat", b"wide", b"pnot", b"skip", b"free"))  # QuickTime before it had brands
_PACKETS = (188, 192, 204)  # bytes of MPEG transport streams: plain, of cameras with a time in front, of broadcasts
_SYNC = 0x47
_LEAST_PACKETS = 4
VIDEO_START = 4096
"""Bytes that tell a video."""


def looks_like_video(head: bytes) -> bool:
    """Whether a file begins like a video; the demuxer has the last word.

    Args:
        head: some kilobytes of it.
    """
    if head[4:8] == b"ftyp":  # cameras have brands of their own, images have few
        return head[8:12].strip() not in _IMAGE_BRANDS
    if head[4:8] in _ATOMS:
        return b"\0" in head  # else it is a word of a text
    return _VIDEO_START.match(head) is not None or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Whether packets follow each other, also where the first is cut."""
    if head.count(_SYNC) > len(head) // 8:  # a text of many G
        return False
    for size in _PACKETS:
        if len(head) < size * _LEAST_PACKETS:
            continue
        for first in range(size):
            if head[first] == _SYNC and all(byte == _SYNC for byte in head[first::size]):
                return True
    return False


_SVG = ("an SVG drawing, not an image", _TO_IMAGE)
_WEB_PAGE = (
    "a web page (HTML), not an image",
    "it may be an error page or a preview page: save the image itself",
)
_ELEMENT = re.compile(rb"<(svg|!doctype html|html|head|body)[\s>]")
_BEFORE_AN_ELEMENT = ((b"<?xml", b">"), (b"<!--", b"-->"), (b"<!doctype svg", b">"))


def foreign_kind(data: bytes) -> tuple[str, str] | None:
    """Recognise common files that are no images: ``(what it is, what to do)``, or None."""
    start = data[:2048].removeprefix(b"\xef\xbb\xbf")
    for pattern, kind, hint in _FOREIGN:
        if pattern.match(start):
            return kind, hint
    if looks_like_video(data[:4096]):
        return _VIDEO
    element = _first_element(start)
    if element is None:
        return None
    return _SVG if element == b"svg" else _WEB_PAGE


def _first_element(data: bytes) -> bytes | None:
    """The name of the element that markup begins with, behind declarations and comments.

    Each byte is looked at once: a pattern for the same takes time without end on a few comments in a row.
    """
    data, at = data.lower(), 0
    while True:
        while data[at : at + 1].isspace():
            at += 1
        skipped = next((pair for pair in _BEFORE_AN_ELEMENT if data.startswith(pair[0], at)), None)
        if skipped is None:
            found = _ELEMENT.match(data, at)
            return found[1] if found else None
        end = data.find(skipped[1], at + len(skipped[0]))
        if end < 0:
            return None
        at = end + len(skipped[1])
