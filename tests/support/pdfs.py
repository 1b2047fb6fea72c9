"""PDFs by hand."""

from __future__ import annotations

from collections.abc import Sequence


def pdf(
    content: bytes, *, page: bytes = b"", catalog: bytes = b"", resources: bytes = b"", more: Sequence[bytes] = ()
) -> bytes:
    """One page of 100x100 points.

    Args:
        content: operators that paint it.
        page, catalog, resources: further entries of these dictionaries.
        more: further objects, numbered from 5.
    """
    objects = [
        b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R/Resources<<%s>>%s>>" % (resources, page),
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        *more,
    ]
    body, places = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        body + head + table + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    )


def scanned(entries: bytes, data: bytes, *, content: bytes = b"", place: bytes = b"100 0 0 100 0 0") -> bytes:
    """A page with an image of 16x16 pixels.

    Args:
        entries: of the image's dictionary, without its size.
        data: its stream.
        content: operators before it is painted.
        place: its matrix.
    """
    image = b"<</Type/XObject/Subtype/Image/Width 16/Height 16%s/Length %d>>stream\n%s\nendstream"
    return pdf(
        content + b" q " + place + b" cm /I Do Q",
        resources=b"/XObject<</I 5 0 R>>",
        more=[image % (entries, len(data), data)],
    )


WHITE_ON_WHITE = pdf(b"1 1 1 rg 10 10 50 50 re f")
EMPTY = pdf(b"")
BLACK = pdf(b"0 0 0 rg 10 10 50 50 re f")
XFA = pdf(b"0 0 0 rg 10 10 50 50 re f", catalog=b"/NeedsRendering true/AcroForm<</Fields[]/XFA[(template)4 0 R]>>")
