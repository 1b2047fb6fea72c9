"""Pages of PDFs as images."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pypdfium2
import pytest

from ggufvlm import VLM
from ggufvlm.errors import ImageError, ImageWarning, UsageError
from ggufvlm.media.documents.page_ranges import page_numbers
from ggufvlm.media.documents.pdf import Pdf, pages
from ggufvlm.media.documents.pdf_reader import MAX_PAGE_PIXELS, readable_text
from tests.support import pdfs
from tests.support.clips import plain, write_pdf
from tests.support.scenes import random_scene

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pages: red, green, blue."""
    monkeypatch.chdir(tmp_path)
    return write_pdf(Path("report.pdf"), [plain(RED, (300, 200)), plain(GREEN, (200, 300)), plain(BLUE)], dpi=72)


def middle(image) -> tuple[int, ...]:
    at = 3 * (image.width * (image.height // 2) + image.width // 2)
    return tuple(255 if value > 127 else 0 for value in image.rgb[at : at + 3])


def test_pages_come_in_order_at_the_resolution_that_is_asked_for(report):
    found = list(pages(report, dpi=72))
    assert [image.source for image in found] == [f"report.pdf page {number}" for number in (1, 2, 3)]
    assert [(image.width, image.height) for image in found] == [(300, 200), (200, 300), (160, 120)]
    assert [middle(image) for image in found] == [RED, GREEN, BLUE]
    assert [(image.width, image.height) for image in pages(report, "1", dpi=144)] == [(600, 400)]
    assert [image.source for image in pages("report.pdf", "3,1")] == ["report.pdf page 3", "report.pdf page 1"]


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ("1-5,8", [1, 2, 3, 4, 5, 8]),
        ("3", [3]),
        ("9-", [9, 10]),
        ("-2", [1, 2]),
        ("2,1-3", [2, 1, 3]),
        (" 4 - 99 ", [4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_selections(selection, numbers):
    assert page_numbers(selection, 10) == numbers


@pytest.mark.parametrize("selection", ["", "0", "x", "3-2", "1,,2", "-", "1-2-3", "11", "11-12"])
def test_selections_that_make_no_sense(selection):
    with pytest.raises(UsageError):
        page_numbers(selection, 10)


def test_a_page_is_read_as_the_image_that_was_printed_on_it(demo: VLM, tmp_path: Path):
    scenes = [random_scene(random.Random(seed), 196, 140) for seed in range(10)]
    path = write_pdf(tmp_path / "scenes.pdf", [scene.draw(196, 140) for scene in scenes])
    said = [demo.describe(image).text for image in pages(path)]
    assert sum(text == scene.caption for text, scene in zip(said, scenes, strict=True)) >= 9


def test_content_decides_not_the_name(report):
    Path("report.jpg").write_bytes(b"\xef\xbb\xbf\n" + report.read_bytes())
    assert len(list(pages("report.jpg"))) == 3
    Path("image.pdf").write_bytes(b"GIF89a")
    with pytest.raises(ImageError, match=r"^image\.pdf: not a PDF$"):
        next(pages("image.pdf"))


def test_damaged_empty_and_encrypted_files_are_named(report):
    whole = report.read_bytes()
    Path("cut.pdf").write_bytes(whole[: len(whole) // 2])
    Path("garbage.pdf").write_bytes(b"%PDF-1.7\n" + random.Random(0).randbytes(5000))
    Path("empty.pdf").touch()
    Path("locked.pdf").write_bytes(LOCKED)
    for name, words in (
        ("cut", "damaged"),
        ("garbage", "damaged"),
        ("empty", "PDF"),
        ("none", "no such"),
        ("locked", "password"),
    ):
        with pytest.raises(ImageError, match=rf"{name}\.pdf.*{words}|{words}.*{name}\.pdf"):
            list(pages(f"{name}.pdf"))


def test_a_pdf_without_pages(tmp_path: Path):
    path = tmp_path / "none.pdf"
    path.write_bytes(NO_PAGES)
    with pytest.raises(ImageError, match=r"none\.pdf"):
        list(pages(path))


def test_huge_and_tiny_pages_are_images_of_a_bounded_size(tmp_path: Path):
    document = pypdfium2.PdfDocument.new()
    for size in ((14400, 14400), (1, 14400), (0.01, 0.01)):
        document.new_page(*size)
    document.save(tmp_path / "sizes.pdf")
    sizes = [(image.width, image.height) for image in pages(tmp_path / "sizes.pdf", dpi=1200)]
    assert all(width * height <= 1.01 * MAX_PAGE_PIXELS for width, height in sizes)
    assert sizes[0] == (4000, 4000)
    assert sizes[2] == (1, 1)


def test_threads_may_read_at_the_same_time(report):
    """PDFium crashes when it is entered twice."""
    found: list[list[str]] = []

    def read() -> None:
        for _ in range(10):
            found.append([image.id for image in pages(report, dpi=100)])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert all(ids == found[0] for ids in found)


@pytest.mark.slow
def test_one_page_at_a_time_is_in_memory(tmp_path: Path):
    path = write_pdf(tmp_path / "long.pdf", [plain((i, 0, 0), (850, 1100)) for i in range(60)], dpi=100)
    program = (
        "import resource, sys\n"
        "from ggufvlm.media.documents.pdf import pages\n"
        "peaks = []\n"
        "for image in pages(sys.argv[1], dpi=300):\n"
        "    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(len(peaks), peaks[-1] - peaks[9])"
    )
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 60
    assert grown < 60 * 1024  # KiB; a page is 25 MiB


def test_the_rest_of_a_document_can_be_read_after_a_bad_page(report):
    from ggufvlm.media.decoding.kinds import identify

    with Pdf(identify(report)) as pdf:
        with pytest.raises(UsageError):
            pdf.page(1, dpi=0)
        assert pdf.n_pages == 3
        assert middle(pdf.page(3)) == BLUE


def objects(*bodies: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of these objects, the first one its catalog."""
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    end = b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, trailer, len(data))
    return data + head + table + end


def text_report(n_pages: int) -> bytes:
    """Pages with a heading of their number, a table of ruled lines, a filled field and an image: red beside blue."""
    kids = b" ".join(b"%d 0 R" % (5 + 2 * i) for i in range(n_pages))
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, n_pages),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/XObject/Subtype/Image/Width 2/Height 1/ColorSpace/DeviceRGB/BitsPerComponent 8"
        b"/Filter/ASCIIHexDecode/Length 13>>stream\nFF00000000FF>\nendstream",
    ]
    for number in range(1, n_pages + 1):
        lines = b"".join(b"72 %d m 500 %d l S\n" % (y, y) for y in range(300, 500, 20))
        drawn = b"BT /F1 40 Tf 72 700 Td (Page %d) Tj ET\n%s1 0 0 rg 72 %d 50 10 re f" % (number, lines, 100 + number)
        drawn += b"\nq 200 0 0 100 300 550 cm /Im Do Q"
        page = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]"
            b"/Resources<</Font<</F1 3 0 R>>/XObject<</Im 4 0 R>>>>/Contents %d 0 R>>"
        )
        bodies += [page % (6 + 2 * (number - 1)), b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn)]
    return objects(*bodies)


def test_text_tables_images_and_fills_are_drawn(tmp_path: Path):
    path = tmp_path / "report.pdf"
    path.write_bytes(text_report(30))
    found = list(pages(path, dpi=72))
    assert len({image.id for image in found}) == 30
    for number, image in enumerate(found, 1):
        pixels = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
        assert (image.width, image.height) == (595, 842)
        assert (pixels[842 - 740 : 842 - 690, 72:300] < 100).all(axis=2).sum() > 300, "the heading"
        assert (pixels[842 - 480, 80:490] < 200).all(), "a line of the table"
        assert pixels[842 - 105 - number, 90].tolist() == [255, 0, 0]
        assert (pixels[:50] == 255).all(), "paper is white"
        assert [pixels[842 - 600, x].tolist() for x in (310, 490)] == [[255, 0, 0], [0, 0, 255]], "the image"


def test_the_text_of_pages_is_read_line_by_line(tmp_path: Path):
    from ggufvlm.media.decoding.kinds import identify

    (tmp_path / "report.pdf").write_bytes(text_report(3))
    write_pdf(tmp_path / "scan.pdf", [plain(RED)])
    with Pdf(identify(tmp_path / "report.pdf")) as pdf:
        assert [pdf.text(number) for number in pdf.numbers()] == ["Page 1", "Page 2", "Page 3"]
    with Pdf(identify(tmp_path / "scan.pdf")) as pdf:
        assert pdf.text(1) is None


NO_PAGES = objects(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>")
LOCKED = objects(
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    b"<</Filter/Standard/V 1/R 2/O<" + b"41" * 32 + b">/U<" + b"42" * 32 + b">/P -4>>",
    trailer=b"/Encrypt 4 0 R/ID[<" + b"00" * 16 + b"><" + b"00" * 16 + b">]",
)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("Total: 12 €\r\nSum", "Total: 12 €\nSum"),
        ("divi\ufffeded and\x02so on", "divi-ded and-so on"),
        ("a\x1b]0;owned\x07b\x9bc" + "word " * 20, "a]0;ownedbc" + ("word " * 20).rstrip()),
        ("\x01\x03\x04\x05 \x06", None),
        ("\ue001\ue002\ue003 \ue004", None),
        ("\ufffd\ufffd\ufffd a", None),
        ("", None),
        ("  \n ", None),
        ("naïve 日本語 \N{GRINNING FACE}", "naïve 日本語 \N{GRINNING FACE}"),
        ("bullet \uf0b7 item one and more words", "bullet  item one and more words"),
    ],
)
def test_what_is_no_text_in_a_layer_is_not_taken_for_one(layer: str, expected: str | None) -> None:
    """Fonts that do not tell their letters, and escape sequences."""
    assert readable_text(layer) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pdfs.WHITE_ON_WHITE, "there is something on the page, and PDFium draws all of it white"),
        (pdfs.BLACK.replace(b"0 0 0 rg", b"1 1 1 rg"), "draws all of it white"),
        (pdfs.XFA, "an XFA form, which PDFium does not draw"),
    ],
)
def test_a_page_that_may_not_be_what_others_show_is_doubted(data, says, tmp_path):
    (tmp_path / "form.pdf").write_bytes(data)
    with pytest.warns(ImageWarning, match=says) as told:
        (image,) = pages(tmp_path / "form.pdf")
    assert image.doubt
    assert says in image.doubt
    assert str(told[0].message).startswith(f"{tmp_path / 'form.pdf'} page 1: ")


GREY, RGB = b"/ColorSpace/DeviceGray/BitsPerComponent 8", b"/ColorSpace/DeviceRGB/BitsPerComponent 8"
BITS, STENCIL = b"/ColorSpace/DeviceGray/BitsPerComponent 1", b"/ImageMask true/BitsPerComponent 1"


@pytest.mark.parametrize(
    "data",
    [
        pdfs.scanned(GREY, b"\xff" * 256),
        pdfs.scanned(RGB, b"\xff" * 768),
        pdfs.scanned(BITS, b"\xff" * 32),
        pdfs.scanned(BITS + b"/Decode[1 0]", bytes(32)),
        pdfs.scanned(STENCIL, b"\xff" * 32),
        pdfs.scanned(GREY, b"\xff" * 256, content=b"q 50 0 0 50 0 0 cm /I Do Q"),
    ],
)
def test_an_empty_sheet_in_a_scanner_is_not_doubted(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(data)
    (image,) = pages(tmp_path / "scan.pdf")
    assert (image.doubt, set(image.rgb)) == (None, {255})


@pytest.mark.parametrize(
    "data",
    [
        pdfs.scanned(GREY, bytes(256), place=b"1 0 0 1 500 500"),
        pdfs.scanned(GREY, b"\xff" * 256, content=b"1 1 1 rg 10 10 50 50 re f"),
        pdfs.scanned(STENCIL, bytes(32), content=b"1 g"),
        pdfs.scanned(GREY + b"/Filter/DCTDecode", b"\xff\xd8 and no more"),
        pdfs.scanned(b"/Filter/JPXDecode", b"no image"),
        pdfs.scanned(BITS + b"/Filter/JBIG2Decode", b"no image"),
    ],
)
def test_an_image_that_is_lost_on_a_white_page_is_doubted(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(data)
    with pytest.warns(ImageWarning, match="draws all of it white"):
        (image,) = pages(tmp_path / "scan.pdf")
    assert set(image.rgb) == {255}


@pytest.mark.parametrize("data", [pdfs.EMPTY, pdfs.BLACK])
def test_a_page_that_is_meant_so_is_not_doubted(data, tmp_path):
    (tmp_path / "page.pdf").write_bytes(data)
    (image,) = pages(tmp_path / "page.pdf")
    assert image.doubt is None
