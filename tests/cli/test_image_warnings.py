"""What is doubtful about an image, in one line of ours; and nothing of what native libraries write to stderr."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tests.cli.conftest import Run
from tests.support import pdfs
from tests.support.images import damaged_deflate, damaged_fax


def test_libtiff_is_told_in_one_line_with_the_files_name(run: Run, folder: Path) -> None:
    (folder / "fax.tif").write_bytes(damaged_fax())
    told = run("describe", "fax.tif").stderr.decode().splitlines()
    assert len(told) == 1
    assert told[0].startswith("warning: fax.tif: its decoder complains: Fax4Decode: ")
    quiet = run("describe", "fax.tif", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    assert quiet.stdout


def test_what_libtiff_says_is_the_reason_of_an_error(run: Run, folder: Path) -> None:
    (folder / "a.tif").write_bytes(damaged_deflate())
    lines = run("describe", "a.tif", "-q").stderr.decode().splitlines()
    assert lines[0].startswith("error: a.tif: damaged TIFF (ZIPDecode: ")
    assert lines[1] == "hint: copy or download it again"
    assert len(lines) == 2


def test_a_batch_names_each_file_and_goes_on(run: Run, folder: Path) -> None:
    (folder / "in").mkdir()
    for number in range(4):
        (folder / "in" / f"{number}.tif").write_bytes(damaged_fax())
    (folder / "in" / "form.pdf").write_bytes(pdfs.XFA)
    done = run("batch", "in", "-p", "What is it?", "-o", "out.csv")
    assert done.returncode == 0
    told = [line for line in done.stderr.decode().splitlines() if "Fax4Decode" in line or "XFA" in line]
    assert [line.split(": ")[1] for line in sorted(told)] == [
        *(f"in/{number}.tif" for number in range(4)),
        "in/form.pdf page 1",
    ]
    assert all(line.startswith("warning: ") for line in told)
    assert len(list(csv.DictReader(io.StringIO((folder / "out.csv").read_text(encoding="utf-8"))))) == 5
    (folder / "out.csv").unlink()
    assert run("batch", "in", "-p", "What is it?", "-o", "again.csv", "-q").stderr == b""


def test_debugging_shows_all_that_is_written(run: Run, folder: Path) -> None:
    (folder / "fax.tif").write_bytes(damaged_fax())
    told = run("describe", "fax.tif", "--debug").stderr.decode()
    assert told.count("Fax4Decode: ") > 1
