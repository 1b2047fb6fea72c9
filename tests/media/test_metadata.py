"""Descriptions in image files: what was put in comes back, and nothing else has changed."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ggufvlm.errors import ImageError
from ggufvlm.media import load
from ggufvlm.media.decoding.headers import exif_fields
from ggufvlm.media.metadata.block import Damaged
from ggufvlm.media.metadata.iptc import described as iptc_described
from ggufvlm.media.metadata.iptc import description as iptc_description
from ggufvlm.media.metadata.iptc import in_order, in_resources, of_resources
from ggufvlm.media.metadata.jpeg import JpegFile
from ggufvlm.media.metadata.tiff import NEW_BLOCK, TiffFile
from ggufvlm.media.metadata.write import Field, describe_file, description_of, is_same_image, keywords_of
from ggufvlm.media.metadata.xmp import described, description, keywords
from tests.batch.conftest import scene

CAPTION = 'Fünf Äpfel & "zwei" Birnen <auf dem Tisch> 🍎'
KEYWORDS = ("Äpfel", "two pears", "R&D <x>")
ALL = {
    "JPEG": (Field.XMP, Field.EXIF, Field.IPTC),
    "PNG": (Field.XMP, Field.EXIF),
    "WEBP": (Field.XMP, Field.EXIF),
    "TIFF": (Field.XMP, Field.EXIF, Field.IPTC),
}
PLACES = [(kind, field) for kind, fields in ALL.items() for field in fields]


def rich_exif() -> Image.Exif:
    """Camera, date, orientation, a maker note and a place on earth."""
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x010E] = "Pinhole", 6, "an old caption"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x927C] = "2024:05:01 10:00:00", bytes(range(200))
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (52.0, 31.0, 12.5)
    return exif


def encoded(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    scene(3).draw(120, 90).save(out, kind, **options)
    return out.getvalue()


def rich(kind: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    old = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Author", "me")
        info.add_itxt("XML:com.adobe.xmp", old.decode(), zip=True)
        return encoded(kind, exif=rich_exif(), icc_profile=profile, pnginfo=info)
    if kind == "TIFF":
        exif = rich_exif()
        exif[700] = old
        return encoded(kind, exif=exif, icc_profile=profile, compression="tiff_lzw")
    more = {"quality": 90} if kind == "JPEG" else {"lossless": True}
    return encoded(kind, exif=rich_exif(), icc_profile=profile, xmp=old, **more)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# -- what comes back


@pytest.mark.parametrize("make", [encoded, rich])
@pytest.mark.parametrize(("kind", "field"), PLACES)
def test_a_description_comes_back_and_pixels_stay(kind: str, field: Field, make: Any) -> None:
    before = make(kind)
    after = describe_file(before, CAPTION, [field], "a")
    assert description_of(after, field, "a") == CAPTION
    assert opened(after).tobytes() == opened(before).tobytes()
    assert load(after).id == load(before).id
    assert is_same_image(before, after)


@pytest.mark.filterwarnings(
    "ignore:Metadata Warning, tag 33723"
)  # Pillow expects one number, and Photoshop writes many
@pytest.mark.parametrize("kind", ALL)
def test_all_else_survives(kind: str) -> None:
    before, after = rich(kind), describe_file(rich(kind), CAPTION, ALL[kind], "a")
    old, new = opened(before), opened(after)
    assert new.info.get("icc_profile") == old.info.get("icc_profile") is not None
    was, now = exif_fields(before), exif_fields(after)
    assert was.pop("ImageDescription") == "an old caption"
    assert "Fünf" in now.pop("ImageDescription").encode("latin-1", "replace").decode("utf-8", "replace")
    for name in ("XMLPacket", "IPTCNAA", "StripOffsets"):
        was.pop(name, None), now.pop(name, None)
    assert {**now, **was} == now
    assert (now["Model"], now["Orientation"]) == ("Pinhole", "6")
    if kind != "TIFF":  # Pillow writes no further directories into these
        assert now["GPSLatitudeRef"] == "N"
        assert new.getexif().get_ifd(0x8769)[0x927C] == bytes(range(200))
    assert b'xmp:Rating="4"' in after
    assert new.info.get("Author") == old.info.get("Author")


@pytest.mark.parametrize("kind", ALL)
def test_twice_is_once(kind: str) -> None:
    once = describe_file(rich(kind), "first", ALL[kind], "a")
    twice = describe_file(once, CAPTION, ALL[kind], "a")
    for field in ALL[kind]:
        assert description_of(twice, field, "a") == CAPTION
    assert twice.count(b"first") <= 1 or kind != "PNG"
    assert is_same_image(once, twice)


@pytest.mark.parametrize("kind", ALL)
def test_no_description_is_none(kind: str) -> None:
    assert [description_of(encoded(kind), field, "a") for field in ALL[kind]] == [None] * len(ALL[kind])


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="no exiftool here")
@pytest.mark.parametrize("kind", ALL)
def test_exiftool_reads_it_and_finds_nothing_wrong(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(describe_file(rich(kind), CAPTION, ALL[kind], "a"))
    tags = ["-XMP-dc:Description", "-EXIF:ImageDescription", "-IPTC:Caption-Abstract"]
    said = subprocess.run(["exiftool", "-s3", *tags, path], capture_output=True, check=True).stdout.decode()
    assert said.splitlines() == [CAPTION] * len(ALL[kind])
    checked = subprocess.run(["exiftool", "-validate", "-warning", "-a", path], capture_output=True, check=True)
    assert b"rror" not in checked.stdout
    fields = [field for field in ALL[kind] if field is not Field.EXIF]
    names = {Field.XMP: "-XMP-dc:Subject", Field.IPTC: "-IPTC:Keywords"}
    olds = [f"{names[field]}=alte Brücke" for field in fields]
    subprocess.run(["exiftool", "-q", "-codedcharacterset=utf8", *olds, path], capture_output=True, check=True)
    assert keywords_of(path.read_bytes(), fields[0], "a") == ("alte Brücke",)
    path.write_bytes(describe_file(path.read_bytes(), KEYWORDS, fields, "a"))
    for field in fields:
        said = subprocess.run(["exiftool", "-s3", "-sep", "|", names[field], path], capture_output=True, check=True)
        assert said.stdout.decode().strip().split("|") == ["alte Brücke", *KEYWORDS]
    checked = subprocess.run(["exiftool", "-validate", "-warning", "-a", path], capture_output=True, check=True)
    assert b"rror" not in checked.stdout


@pytest.mark.parametrize("kind", ALL)
def test_keywords_are_added_to_those_that_are_there(kind: str) -> None:
    fields = [field for field in ALL[kind] if field is not Field.EXIF]
    before = describe_file(rich(kind), CAPTION, fields, "a")
    once = describe_file(before, KEYWORDS, fields, "a")
    twice = describe_file(once, ("ÄPFEL", "new", KEYWORDS[1]), fields, "a")
    for field in fields:
        assert keywords_of(before, field, "a") == ()
        assert keywords_of(once, field, "a") == KEYWORDS
        assert keywords_of(twice, field, "a") == (*KEYWORDS, "new")
        assert description_of(twice, field, "a") == CAPTION
    assert is_same_image(rich(kind), twice)


@pytest.mark.parametrize("form", ["<dc:subject/>", "<dc:subject><rdf:Bag/></dc:subject>", "<dc:subject></dc:subject>"])
def test_empty_keywords_of_others_are_filled(form: str) -> None:
    packet = described(None, "A cat.").replace(
        b"<dc:description",
        form.encode().replace(b"<dc:subject", b'<dc:subject xmlns:dc="http://purl.org/dc/elements/1.1/"', 1)
        + b"<dc:description",
    )
    assert keywords(described(packet, ("a & b", "c"))) == ("a & b", "c")
    assert description(described(packet, ("a & b", "c"))) == "A cat."


@given(st.lists(st.text(max_size=20), max_size=5), st.lists(st.text(max_size=20), max_size=5))
def test_any_keywords_come_back(first: list[str], second: list[str]) -> None:
    packet = described(described(None, tuple(first)), tuple(second))
    got = {word.strip().casefold() for word in keywords(packet)}
    clean = "".join("".join([*first, *second]).split())
    if clean.isprintable() and clean.isascii():
        assert {word.strip().casefold() for word in (*first, *second)} == got
    assert described(packet, keywords(packet)) == packet


def test_compressed_bytes_are_not_touched() -> None:
    before = rich("JPEG")
    after = describe_file(before, CAPTION, ALL["JPEG"], "a")
    assert after.endswith(before[before.index(b"\xff\xda") :])
    before = rich("PNG")
    assert before[before.index(b"IDAT") - 4 :] in describe_file(before, CAPTION, ALL["PNG"], "a")


def test_what_follows_the_image_stays() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        before = rich(kind) + b"\nwhat somebody has put behind it"
        assert describe_file(before, CAPTION, ALL[kind], "a").endswith(b"behind it")


def test_further_images_in_a_file_are_found_again() -> None:
    """As telephones write them: the index has the distance of the second image."""
    out = io.BytesIO()
    first, second = scene(1).draw(120, 90), scene(2).draw(60, 45)
    first.save(out, "MPO", save_all=True, append_images=[second])
    after = describe_file(out.getvalue(), CAPTION, ALL["JPEG"], "a")
    image = Image.open(io.BytesIO(after))
    assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    image.seek(1)
    assert image.size == (60, 45)


def test_a_simple_webp_becomes_an_extended_one() -> None:
    for mode, lossless in (("RGB", False), ("RGB", True), ("RGBA", True)):
        out = io.BytesIO()
        Image.new(mode, (37, 21), (10, 20, 30) + (40,) * (mode == "RGBA")).save(out, "WEBP", lossless=lossless)
        image = opened(describe_file(out.getvalue(), CAPTION, [Field.XMP], "a"))
        assert (image.size, image.mode) == ((37, 21), opened(out.getvalue()).mode)
        assert b"Birnen" in image.info["xmp"]


# -- what cannot be


@pytest.mark.parametrize(
    ("kind", "field"), [("GIF", Field.XMP), ("BMP", Field.EXIF), ("PNG", Field.IPTC), ("WEBP", Field.IPTC)]
)
def test_formats_without_a_place_are_told(kind: str, field: Field) -> None:
    with pytest.raises(ImageError, match=r"^x\.y: ") as caught:
        describe_file(encoded(kind), "a", [field], "x.y")
    assert "--sidecar xmp" in str(caught.value.hint)


def test_too_long_texts_are_told() -> None:
    with pytest.raises(ImageError, match="IPTC"):
        describe_file(encoded("JPEG"), "x" * 2001, [Field.IPTC], "a")
    with pytest.raises(ImageError, match="no room"):
        describe_file(encoded("JPEG"), "x" * 70_000, [Field.XMP], "a")


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=60, deadline=None)
@given(cut=st.integers(4, 3000), flip=st.integers(12, 3000), value=st.integers(0, 255))
def test_damaged_files_are_an_error_or_described(kind: str, cut: int, flip: int, value: int) -> None:
    data = bytearray(rich(kind))
    data[flip % len(data)] = value
    for broken in (bytes(data[: cut % len(data)]), bytes(data)):
        try:
            after = describe_file(broken, CAPTION, ALL[kind], "a")
        except ImageError:
            continue
        assert all(description_of(after, field, "a") == CAPTION for field in ALL[kind])


# -- XMP

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def packet(inner: str, about: str = "") -> bytes:
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}>'
        f'<rdf:Description rdf:about="{about}" {DC} xmlns:p="urn:p" p:note="two&#xA;lines">{inner}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>\n   \n<?xpacket end='w'?>"
    ).encode()


def alt(*items: str) -> str:
    return f"<dc:description><rdf:Alt>{''.join(items)}</rdf:Alt></dc:description>"


GERMAN, DEFAULT = '<rdf:li xml:lang="de">alt</rdf:li>', '<rdf:li xml:lang="x-default">o&lt;ld</rdf:li>'


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"))))
@example("a\nb\tc")
@example("]]> --> <?xpacket end='w'?> &amp;")
def test_any_text_comes_back_from_xmp(text: str) -> None:
    for before in (None, packet(""), packet(alt(GERMAN)), packet(alt(GERMAN, DEFAULT)), described(None, "old")):
        after = described(before, text)
        assert description(after) == text
        assert described(after, text) == after


def test_only_the_description_changes_in_xmp() -> None:
    inner = "<p:list><rdf:Bag><rdf:li>one</rdf:li></rdf:Bag></p:list><!-- a remark -->"
    before = packet(inner + alt(GERMAN, DEFAULT) + inner)
    after = described(before, "new")
    assert (
        after.replace(b">new<", b">o&lt;ld<").replace(
            b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xml', b" xml"
        )
        == before
    )
    assert description(before) == "o<ld"


def test_other_languages_and_other_subjects_stay() -> None:
    after = described(packet(alt(GERMAN), about="urn:x"), "new")
    assert GERMAN.encode() in after
    assert after.index(b"x-default") < after.index(b'"de"')
    assert described(packet("", about="urn:x"), "new").count(b'rdf:about="urn:x"') == 2
    nested = packet(f"<p:part rdf:parseType='Resource'>{alt(DEFAULT)}</p:part>")
    assert description(nested) is None
    assert description(described(nested, "new")) == "new"


def test_self_closing_tags() -> None:
    assert description(described(packet(alt('<rdf:li xml:lang="x-default"/>')), "new")) == "new"
    assert description(described(packet("<dc:description/>"), "new")) == "new"
    assert description(described(packet("<dc:description>plain</dc:description>"), "new")) == "new"


def test_utf16_and_padding() -> None:
    assert description(described(packet("").decode().encode("utf-16"), "new")) == "new"
    assert description(described(packet("") + b"\0" * 100, "new")) == "new"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_packet_in_any_encoding_of_xmp_is_read(encoding: str, mark: str) -> None:
    """ExifTool's own test images hold UTF-16 whose only byte order mark stands within the packet."""
    text = packet(alt(GERMAN, DEFAULT)).decode()
    for before in ("", f'<?xml version="1.0" encoding="{encoding[:6]}"?>\n'):
        data = (mark + before + text + "\n" * 9).encode(encoding)
        assert description(data) == "o<ld"
        after = described(data, "new")
        assert description(after) == "new"
        assert GERMAN in after.decode("utf-8")


def test_xmp_with_half_a_letter_is_not_written_over() -> None:
    before = packet(alt(GERMAN, DEFAULT)).decode().replace("old", "o").encode("utf-16-be")
    with pytest.raises(Damaged, match="XMP"):
        described(before.replace("alt".encode("utf-16-be"), b"\xd8\x00\0a\0b"), "new")


def test_a_jpeg_whose_xmp_is_utf16_takes_a_description_and_keywords() -> None:
    bag = "<dc:subject><rdf:Bag><rdf:li>Äpfel</rdf:li></rdf:Bag></dc:subject>"
    before = encoded("JPEG", xmp=packet(bag + alt(GERMAN, DEFAULT)).decode().encode("utf-16-be"))
    assert keywords_of(before, Field.XMP, "a") == ("Äpfel",)
    after = describe_file(describe_file(before, CAPTION, [Field.XMP], "a"), ("pears",), [Field.XMP], "a")
    assert description_of(after, Field.XMP, "a") == CAPTION
    assert keywords_of(after, Field.XMP, "a") == ("Äpfel", "pears")
    assert is_same_image(before, after)


@pytest.mark.parametrize(
    "bad",
    [
        b"<not closed",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + packet(""),
        b"<a/>",
        packet("").replace(b"p:note", b"dc:description"),
    ],
)
def test_xmp_that_cannot_be_read_is_not_written_over(bad: bytes) -> None:
    with pytest.raises(Damaged, match="XMP"):
        described(bad, "new")


# -- IPTC


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300),
    others=st.lists(st.tuples(st.integers(3, 119), st.binary(max_size=50)), max_size=5),
)
def test_any_caption_comes_back_from_iptc(text: str, others: list[tuple[int, bytes]]) -> None:
    records = b"".join(b"\x1c\x02" + bytes([n]) + struct.pack(">H", len(value)) + value for n, value in others)
    after = iptc_described(records, text)
    assert iptc_description(after) == text
    assert iptc_described(after, text) == after
    for number, value in others:
        assert bytes([0x1C, 2, number]) in after
        assert value in after or not value.isascii()


def test_latin_letters_of_old_records_stay_what_they_are() -> None:
    city = "Köln".encode("latin-1")
    records = b"\x1c\x02\x5a" + struct.pack(">H", len(city)) + city
    assert iptc_described(records, "plain").count(city) == 1, "nothing to convert for"
    after = iptc_described(records, "Äpfel")
    assert "Köln".encode() in after
    assert after.startswith(b"\x1c\x01\x5a\0\x03\x1b%G")


def test_resources_of_photoshop_stay_and_the_digest_is_renewed() -> None:
    import hashlib

    path = b"8BIM\x07\xd0\x05title\0\0\0\x03abc\0"
    digest = b"8BIM\x04\x25\0\0\0\0\0\x10" + bytes(16)
    after = in_resources(path + digest, CAPTION)
    assert after.startswith(path)
    assert of_resources(after) == CAPTION
    assert hashlib.md5(iptc_described(b"", CAPTION)).digest() in after
    assert in_resources(after, CAPTION) == after


def test_records_as_numbers_of_the_other_order() -> None:
    records = iptc_described(b"", "abcdefg").ljust(24, b"\0")
    swapped = struct.pack("<6I", *struct.unpack(">6I", records))
    assert iptc_description(in_order(swapped)) == "abcdefg"


# -- TIFF


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100), big=st.booleans())
def test_any_text_comes_back_from_a_directory(text: str, big: bool) -> None:
    block = b"MM\0*\0\0\0\x08\0\0\0\0\0\0" if big else NEW_BLOCK
    file = TiffFile(block)
    file.describe("exif", text)
    assert TiffFile(file.to_bytes()).description("exif") == text


def test_nothing_in_a_tiff_moves() -> None:
    before = rich("TIFF")
    after = describe_file(before, CAPTION, ALL["TIFF"], "a")
    assert (after[:4], after[8 : len(before)]) == (before[:4], before[8:])


def test_a_tiff_of_several_pages_keeps_them() -> None:
    out = io.BytesIO()
    scene(1).draw(60, 45).save(out, "TIFF", save_all=True, append_images=[scene(2).draw(30, 20)])
    image = Image.open(io.BytesIO(describe_file(out.getvalue(), CAPTION, ALL["TIFF"], "a")))
    image.seek(1)
    assert (image.n_frames, image.size) == (2, (30, 20))  # type: ignore[attr-defined]


def test_chunks_with_wrong_checksums_stay_wrong() -> None:
    data = encoded("PNG")
    bad = data.replace(struct.pack(">I", zlib.crc32(b"IEND")), b"abcd")
    assert describe_file(bad, CAPTION, [Field.XMP], "a").endswith(b"IENDabcd")


def test_a_long_photoshop_block_goes_over_several_segments() -> None:
    big = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 150_000) + bytes(150_000)
    file = JpegFile(encoded("JPEG"))
    file._put_resources(big)
    after = describe_file(file.to_bytes(), CAPTION, [Field.IPTC], "a")
    assert description_of(after, Field.IPTC, "a") == CAPTION
    assert JpegFile(after)._resources().startswith(big)
    assert opened(after).size == (120, 90)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with some bytes changed, left out or put in, most of them near its beginning."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(min(len(changed), rng.choice((200, 2000, len(changed)))))
        kind = rng.randrange(4)
        if kind < 2:
            changed[at] = rng.choice((0, 255, rng.randrange(256)))
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 40)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(changed)


@pytest.mark.parametrize("kind", ALL)
def test_whatever_a_file_holds_is_written_to_or_refused(kind: str) -> None:
    rng = random.Random(kind)
    keyed = [field for field in ALL[kind] if field is not Field.EXIF]
    whole = describe_file(describe_file(rich(kind), CAPTION, ALL[kind], "a"), KEYWORDS, keyed, "a")
    n_refused = 0
    for _ in range(300):
        data = mutated(whole, rng)
        assert is_same_image(data, whole) in (True, False)
        for said, fields in ((CAPTION, ALL[kind]), (KEYWORDS, keyed)):
            try:
                after = describe_file(data, said, fields, "a")
                assert is_same_image(after, data) or not is_same_image(data, data)
            except ImageError:
                n_refused += 1
        with contextlib.suppress(ImageError):
            assert all(description_of(data, field, "a") != "" for field in ALL[kind])
    assert 0 < n_refused < 600
