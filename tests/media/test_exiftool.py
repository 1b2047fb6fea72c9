"""exiftool finds nothing wrong in a file that it has not found before a description was put into it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from ggufvlm.media.metadata.iptc import described as iptc_described
from ggufvlm.media.metadata.tiff import TiffFile
from ggufvlm.media.metadata.write import Field, describe_file, description_of, fields_that_fit, is_same_image
from tests.batch.conftest import scene
from tests.media.test_metadata import ALL, CAPTION, KEYWORDS, encoded, rich

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="no exiftool here")

RESOLUTION = ["IFD0:XResolution", "IFD0:YResolution", "IFD0:ResolutionUnit"]


def exiftool(paths: list[Path], *options: str) -> list[dict[str, Any]]:
    """What exiftool says of files, one process for all."""
    done = subprocess.run(["exiftool", "-j", "-a", *options, *paths], capture_output=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def complaints(paths: list[Path]) -> dict[str, set[str]]:
    """Warnings and errors of ``exiftool -validate`` by the name of the file."""
    found = {}
    # -G4 numbers warnings, which would have one key in JSON
    for path, said in zip(paths, exiftool(paths, "-G4", "-validate", "-warning", "-error"), strict=True):
        found[path.name] = {said[key] for key in said if key.rpartition(":")[2] in ("Warning", "Error")}
    return found


def resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)


def photoshop(records: bytes, *, holds_records: bool) -> bytes:
    """Resources as Photoshop writes them: a resolution, the records in JPEG files, and their digest."""
    held = resource(0x0404, records) if holds_records else b""
    dpi = resource(0x03ED, struct.pack(">IHHIHH", 72 << 16, 1, 1, 72 << 16, 1, 1))
    return dpi + held + resource(0x0425, hashlib.md5(records).digest())


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_with(part: bytes, **options: Any) -> bytes:
    """A JPEG file with a segment behind its JFIF header."""
    data = encoded("JPEG", **options)
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + part + data[end:]


def with_trailer(data: bytes, order: str = ">", *, wrong_by: int = 0) -> bytes:
    """A file with an AFCP trailer that holds a caption and a text."""
    mark, start = (b"AXS!" if order == ">" else b"AXS*"), len(data)
    values = [(b"IPTC", iptc_described(b"", "Behind the image")), (b"TEXT", b"a text")]
    directory, at = b"", start + 12 + 12 * len(values)
    for tag, value in values:
        directory += tag + struct.pack(f"{order}II", len(value), at - wrong_by)
        at += len(value)
    header = mark + struct.pack(f"{order}HHI", 0x0100, len(values), 0)
    end = mark + struct.pack(f"{order}II", start - wrong_by, 0)
    return data + header + directory + b"".join(value for _, value in values) + end


def tiff_with(*entries: tuple[int, int, bytes], **options: Any) -> bytes:
    """A TIFF file with entries of these tags and types."""
    file = TiffFile(encoded("TIFF", **options))
    for entry in entries:
        file.put(*entry)
    return file.to_bytes()


def tiff_of_photoshop() -> bytes:
    records = iptc_described(b"", "what was there").ljust(28, b"\0")
    resources = photoshop(records, holds_records=False)
    return tiff_with((33723, 4, records), (34377, 1, resources), dpi=(72, 72))


def converted(mode: str, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    scene(4).draw(120, 90).convert(mode).save(out, kind, **options)
    return out.getvalue()


def several(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    scene(1).draw(60, 45).save(out, kind, save_all=True, append_images=[scene(2).draw(60, 45)], **options)
    return out.getvalue()


def generated() -> Iterator[tuple[str, bytes]]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    records = iptc_described(b"", "what was there")
    plain = encoded("JPEG")
    without_jfif = plain[:2] + plain[4 + int.from_bytes(plain[4:6], "big") :]
    deep = Image.frombytes("I;16B", (40, 30), bytes(range(240)) * 10)
    big = io.BytesIO()
    deep.save(big, "TIFF", dpi=(72, 72))
    yield "plain.jpg", plain
    yield "grey.jpg", converted("L", "JPEG")
    yield "cmyk.jpg", converted("CMYK", "JPEG")
    yield "rgb.jpg", encoded("JPEG", keep_rgb=True)
    yield "progressive.jpg", encoded("JPEG", progressive=True)
    yield "coarse.jpg", encoded("JPEG", subsampling="4:2:0", quality=30)
    yield "dense.jpg", encoded("JPEG", dpi=(300, 300))
    yield "profile.jpg", encoded("JPEG", icc_profile=profile)
    yield "comment.jpg", encoded("JPEG", comment=b"made by hand")
    yield "rich.jpg", rich("JPEG")
    yield "no-jfif.jpg", without_jfif
    yield "empty-exif.jpg", jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"))
    yield "big-endian-exif.jpg", jpeg_with(segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    yield "photoshop.jpg", jpeg_with(segment(0xED, b"Photoshop 3.0\0" + photoshop(records, holds_records=True)))
    yield "phone.jpg", several("MPO")
    yield "tail.jpg", plain + b"\0" * 100
    yield "trailer.jpg", with_trailer(plain)
    yield "little-endian-trailer.jpg", with_trailer(rich("JPEG"), "<")
    yield "trailer-and-tail.jpg", with_trailer(plain) + b"\0" * 8
    for mode in ("RGB", "RGBA", "P", "L", "LA", "1"):
        yield f"{mode}.png", converted(mode, "PNG")
    yield "dense.png", encoded("PNG", dpi=(300, 300))
    yield "rich.png", rich("PNG")
    yield "several.png", several("PNG")
    yield "lossy.webp", encoded("WEBP")
    yield "lossless.webp", encoded("WEBP", lossless=True)
    yield "alpha.webp", converted("RGBA", "WEBP")
    yield "several.webp", several("WEBP")
    yield "rich.webp", rich("WEBP")
    yield "plain.tif", encoded("TIFF")
    yield "dense.tif", encoded("TIFF", dpi=(300, 300))
    yield "packed.tif", encoded("TIFF", compression="tiff_lzw")
    yield "grey.tif", converted("L", "TIFF", dpi=(72, 72))
    yield "several.tif", several("TIFF")
    yield "big-endian.tif", big.getvalue()
    yield "rich.tif", rich("TIFF")
    yield "photoshop.tif", tiff_of_photoshop()
    yield "old-records.tif", tiff_with((33723, 7, records))
    yield "trailer.tif", with_trailer(encoded("TIFF", dpi=(72, 72)))


def packaged() -> Iterator[tuple[str, bytes]]:
    """Images that the test's own packages bring: drawn, photographed and exported by others."""
    site = Path(sysconfig.get_path("purelib"))
    demo = Path(__file__).parents[2] / "ggufvlm" / "demo"
    places = [
        *site.glob("matplotlib/mpl-data/sample_data/*"),
        *site.glob("matplotlib/mpl-data/images/*"),
        *demo.glob("*"),
    ]
    for path in sorted(places):
        if path.suffix in (".jpg", ".png", ".tif", ".webp"):
            yield path.name, path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("files", "at_least"), [(generated, 40), (packaged, 20)])
def test_no_new_warning(tmp_path: Path, files: Any, at_least: int) -> None:
    befores, afters, origin = [], [], {}
    for name, data in files():
        before = tmp_path / name
        before.write_bytes(data)
        befores.append(before)
        fields = fields_that_fit(data, list(Field), name)
        keyed = [field for field in fields if field is not Field.EXIF]
        whole = describe_file(data, CAPTION, fields, name)
        changed = {field.value: describe_file(data, CAPTION, [field], name) for field in fields}
        changed |= {"all": whole, "keywords": describe_file(whole, KEYWORDS, keyed, name)}
        for label, after in changed.items():
            path = tmp_path / f"{before.stem} {label}{before.suffix}"
            path.write_bytes(after)
            afters.append(path)
            origin[path.name] = name
            assert is_same_image(data, after)
    assert len(befores) >= at_least
    was, now = complaints(befores), complaints(afters)
    assert {name: new for name, said in now.items() if (new := said - was[origin[name]])} == {}


def test_a_new_exif_block_says_what_the_file_says(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "plain.jpg": encoded("JPEG"),
        "dense.jpg": encoded("JPEG", dpi=(300, 150), icc_profile=profile),
        "rgb.jpg": encoded("JPEG", keep_rgb=True),
        "grey.jpg": converted("L", "JPEG"),
    }
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_bytes(describe_file(files[path.name], CAPTION, [Field.EXIF], path.name))
    assert complaints(paths) == {name: set() for name in files}
    plain, dense, rgb, grey = exiftool(paths, "-G1", "-n", "-IFD0:all", "-ExifIFD:all", "-JFIF:all")
    assert [plain[name] for name in RESOLUTION] == [72, 72, 2]
    assert [dense[name] for name in RESOLUTION] == [300, 150, 2]
    assert (dense["JFIF:XResolution"], dense["JFIF:YResolution"]) == (300, 150)
    assert (plain["ExifIFD:ExifImageWidth"], plain["ExifIFD:ExifImageHeight"]) == (120, 90)
    assert (plain["ExifIFD:ColorSpace"], dense["ExifIFD:ColorSpace"]) == (1, 65535)
    channels = [file["ExifIFD:ComponentsConfiguration"] for file in (plain, rgb, grey)]
    assert channels == ["1 2 3 0", "4 5 6 0", "1 0 0 0"]


def test_records_in_a_tiff_are_of_photoshops_type_and_its_digest_is_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    before = tiff_of_photoshop()
    path.write_bytes(describe_file(before, CAPTION, [Field.IPTC], "a"))
    assert complaints([path]) == {"a.tif": set()}
    (said,) = exiftool([path], "-G1", "-IPTC:Caption-Abstract", "-Photoshop:all", "-CurrentIPTCDigest")
    assert said["IPTC:Caption-Abstract"] == CAPTION
    assert said["Photoshop:IPTCDigest"] == said["File:CurrentIPTCDigest"]
    assert said["Photoshop:XResolution"] == 72
    assert is_same_image(before, path.read_bytes())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wrong_by", [0, 40])
def test_a_trailer_is_found_again(tmp_path: Path, kind: str, order: str, wrong_by: int) -> None:
    before, path = with_trailer(encoded(kind), order, wrong_by=wrong_by), tmp_path / "a"
    after = describe_file(before, CAPTION, ALL[kind], "a")
    assert all(description_of(after, field, "a") == CAPTION for field in ALL[kind])
    assert is_same_image(before, after)
    assert not is_same_image(before, encoded(kind))
    mark = b"AXS!" if order == ">" else b"AXS*"
    (start,) = struct.unpack(f"{order}I", after[-8:-4])
    assert after[start : start + 4] == mark == after[-12:-8]
    size, at = struct.unpack_from(f"{order}II", after, start + 12 + 4)
    assert after[at : at + size] == iptc_described(b"", "Behind the image")
    if kind in ("JPEG", "TIFF"):  # exiftool looks for trailers in no others
        path.write_bytes(after)
        said = exiftool([path], "-G1", "-AFCP:all", "-IPTC:all", "-warning")[0]
        assert said["AFCP:Text"] == "a text"
        assert not any("AFCP" in str(value) for key, value in said.items() if key.endswith("Warning"))
