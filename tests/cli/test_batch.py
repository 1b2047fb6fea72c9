"""``ggufvlm batch`` as a user runs it: killed, interrupted, on a full disk, over broken files."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM
from ggufvlm.batch.outputs.keywords import keywords_in
from ggufvlm.media.metadata.write import Field, description_of, keywords_of
from tests.batch.conftest import draw_scenes, scene
from tests.cli.conftest import Run
from tests.support.clips import write_clip, write_pdf
from tests.test_exports import loaded_by

PROMPT = "Describe this image."
COMMAND = [sys.executable, "-m", "ggufvlm", "batch"]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").splitlines()]


def answers(path: Path) -> dict[str, str]:
    found = rows(path)
    assert len({row["id"] for row in found}) == len(found), "one row each"
    return {row["id"]: row["answer"] for row in found}


@pytest.fixture
def shots(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    return draw_scenes(folder / "shots", 6)


def test_a_folder_becomes_rows_and_stdout_stays_empty(run: Run, shots: Path, folder: Path) -> None:
    done = run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--ordered")
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert b"6 answered" in done.stderr
    assert list(answers(folder / "out.jsonl")) == [f"shots/s00{n}.png" for n in range(6)]
    again = run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "-q")
    assert (again.returncode, again.stderr) == (0, b"")


@pytest.mark.slow
def test_ten_kills_lose_nothing_and_answer_nothing_twice(shots: Path, folder: Path, demo: VLM) -> None:
    draw_scenes(shots, 300)
    serial = {str(path.relative_to(folder)): demo.describe(path, PROMPT).text for path in sorted(shots.iterdir())}
    command = [*COMMAND, "shots", "-p", PROMPT, "-o", "out.jsonl", "-q"]
    out, rng = folder / "out.jsonl", random.Random(1)
    for number in range(10):
        process = subprocess.Popen([*command, "--isolate" if number % 2 else "--no-isolate"], cwd=folder)
        wanted = (out.stat().st_size if out.exists() else 0) + rng.randint(1, 25_000)
        while process.poll() is None and (not out.exists() or out.stat().st_size < wanted):
            time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"run {number} was over before it could be killed"
    subprocess.run(command, cwd=folder, check=True)
    assert answers(out) == serial


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(shots: Path, folder: Path) -> None:
    draw_scenes(shots, 120)
    command = [*COMMAND, "shots", "-p", PROMPT, "-o", "out.csv", "--json-progress"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE)
    journal = folder / "out.csv.journal.jsonl"
    while not journal.exists() or journal.stat().st_size < 5_000:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    kept = len((folder / "out.csv").read_text().splitlines()) - 1
    assert 0 < kept < 120
    state = json.loads(said.splitlines()[-1])
    assert (state["done"], state["finished"]) == (kept, False)
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    state = json.loads(done.stderr.splitlines()[-1])
    assert (state["total"], state["kept"], state["answered"], state["finished"]) == (120, kept, 120 - kept, True)
    assert len((folder / "out.csv").read_text().splitlines()) == 121


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(shots: Path, folder: Path) -> None:
    command = [*COMMAND, "shots", "-p", PROMPT, "-o", "out.jsonl"]

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, 2_500))

    environment = {**os.environ, "GGUFVLM_CACHE_DIR": "/dev/null/none"}
    full = subprocess.run(
        [*command, "--no-cache", "-q"],
        cwd=folder,
        capture_output=True,
        preexec_fn=small_disk,
        env=environment,
        check=False,
    )
    assert full.returncode == 1, full.stderr
    lines = full.stderr.decode().splitlines()
    assert lines[0].startswith("error: out.jsonl: cannot be written: ")
    assert lines[1].startswith("hint: make room")
    assert len(lines) == 2
    kept = len(rows(folder / "out.jsonl"))
    assert 0 < kept < 6
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert f"{6 - kept} answered, {kept} there before" in done.stderr.decode()
    assert len(answers(folder / "out.jsonl")) == 6


def break_files(shots: Path) -> set[str]:
    """Thirteen kinds of trouble, one more for who is not root; returns the ids of all of them."""
    good = (shots / "s000.png").read_bytes()
    bomb = bytearray(good)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    contents = {
        "truncated.png": good[: len(good) // 2],
        "bomb.png": bytes(bomb),
        "text.jpg": b"Dear diary",
        "zero.png": b"",
        "page.png": b"<!doctype html><html></html>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\n",
        "video.png": b"\0\0\0\x18ftypisom" + bytes(50),
        "zeros.webp": bytes(500),
    }
    for name, data in contents.items():
        (shots / name).write_bytes(data)
    (shots / "folder.png").mkdir()
    (shots / "dangling.png").symlink_to("gone.png")
    (shots / "loop.png").symlink_to("loop.png")
    os.mkfifo(shots / "pipe.png")
    names = {*contents, "folder.png", "dangling.png", "loop.png", "pipe.png"}
    if sys.platform == "linux":
        (shots / "unreadable.png").symlink_to("/proc/self/mem")  # not for root either
        names.add("unreadable.png")
    if os.geteuid():
        (shots / "secret.png").write_bytes(good)
        (shots / "secret.png").chmod(0)
        names.add("secret.png")
    return {f"shots/{name}" for name in names}


def test_broken_files_are_rows_and_stop_nothing(run: Run, shots: Path, folder: Path) -> None:
    draw_scenes(shots, 40)
    bad = break_files(shots)
    shutil.copy(shots / "s000.png", os.fsencode(shots) + b"/caf\xe9.png")
    shutil.copy(shots / "s001.png", shots / "wrong-ending.jpg")
    done = run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--html", "g.html")
    assert done.returncode == 5, done.stderr
    found = rows(folder / "out.jsonl")
    assert {row["id"] for row in found if row["error"]} == bad
    assert len(found) == 42 + len(bad)
    assert all(row["error"]["class"] == "ImageError" for row in found if row["error"])
    for name in bad:
        assert name.encode() in done.stderr
    assert "shots/caf\\xe9.png" in {row["id"] for row in found if row["answer"]}


@pytest.mark.slow
def test_an_answer_that_runs_in_circles_is_tried_again_then_marked(run: Run, stuck: list[str], folder: Path) -> None:
    asked = ["batch", *stuck, "-p", "Hi", "-n", "500", "-o", "out.jsonl"]
    done = run(*asked, "--top-k", "1")  # the same token at any temperature
    (row,) = rows(folder / "out.jsonl")
    assert (done.returncode, row["finish_reason"], row["retries"]) == (5, "repetition", 2), done.stderr
    assert row["error"]["class"] == "Repetition"
    assert row["answer"]
    before = (folder / "out.jsonl").read_bytes()
    again = run(*asked, "--top-k", "1")
    assert (again.returncode, (folder / "out.jsonl").read_bytes()) == (5, before), "it would be the same again"
    assert run(*asked).returncode == 0, "at random it finds a way out"
    assert [(row["retries"], row["error"]) for row in rows(folder / "out.jsonl")] == [(1, None)]


def test_paths_through_a_pipe_sidecars_and_parquet(run: Run, shots: Path, folder: Path) -> None:
    import pyarrow.parquet as pq

    listed = "\n".join(str(path) for path in sorted(shots.iterdir()))
    done = run(
        "batch",
        "-",
        "-p",
        PROMPT,
        "-o",
        "out.parquet",
        "--sidecar",
        "txt",
        "--trigger-word",
        "sks",
        input=listed.encode(),
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(folder / "out.parquet").to_pylist()
    assert len(table) == 6
    for row in table:
        assert Path(row["path"]).with_suffix(".txt").read_text() == f"sks, {row['answer']}\n"


def test_the_last_line_names_all_that_was_written(run: Run, shots: Path, folder: Path) -> None:
    command = ["batch", "shots", "-p", PROMPT, "-o", "out.csv", "--html", "page.html", "--columns", "answer,id"]
    done = run(*command, "--sidecar", "txt", "--embed", "xmp", "--embed-to", "copies")
    assert done.returncode == 0, done.stderr
    last = done.stderr.decode().splitlines()[-1]
    assert last == "written: out.csv, out.csv.journal.jsonl, page.html, 6 sidecars, 6 images in copies"
    header, *lines = (folder / "out.csv").read_text().splitlines()
    assert (header, len(lines)) == ("answer,id", 6)
    assert run(*command, "--sidecar", "txt").stderr.splitlines()[-1].endswith(b"page.html"), "they were there before"
    done = run("batch", "shots", "-p", PROMPT, "-o", "out.csv", "--columns", "anwser")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, b"hint: did you mean answer?")


def test_xmp_sidecars_keep_what_others_wrote(run: Run, shots: Path, folder: Path) -> None:
    theirs = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    (shots / "s000.xmp").write_text(theirs)
    (shots / "s001.xmp").write_text("not XMP")
    done = run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--sidecar", "xmp")
    assert done.returncode == 5, "one of them cannot be read"
    assert b"shots/s001.xmp" in done.stderr
    assert (shots / "s001.xmp").read_text() == "not XMP"
    said = answers(folder / "out.jsonl")
    assert 'xmp:Rating="4"' in (shots / "s000.xmp").read_text()
    assert said["shots/s000.png"] in (shots / "s000.xmp").read_text()
    assert said["shots/s002.png"] in (shots / "s002.xmp").read_text()


def test_answers_go_into_copies_and_into_the_images(run: Run, shots: Path, folder: Path) -> None:
    from ggufvlm.media.metadata.write import Field, description_of

    asked = ["batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--embed", "xmp,exif"]
    done = run(*asked, "--embed-to", "copies")
    assert done.returncode == 0, done.stderr
    assert b"with a description: 6 image files" in done.stderr
    for name, answer in answers(folder / "out.jsonl").items():
        for field in (Field.XMP, Field.EXIF):
            assert description_of((folder / "copies" / Path(name).name).read_bytes(), field, name) == answer
    before = (shots / "s000.png").read_bytes()
    done = run(*asked, "--embed-in-place")
    assert (done.returncode, (shots / "s000.png.orig").read_bytes()) == (0, before), done.stderr
    assert (shots / "s000.png").read_bytes() == (folder / "copies" / "s000.png").read_bytes()
    again = run(*asked, "--embed-in-place")
    assert b"0 answered, 6 there before" in again.stderr


def test_images_that_have_their_sidecar_are_not_asked_about(run: Run, shots: Path, folder: Path) -> None:
    for number in (1, 4):
        (shots / f"s00{number}.txt").write_text("by hand")
    command = ("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--sidecar", "txt", "--sidecar-exists", "skip")
    done = run(*command, "--json-progress")
    state = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, state["answered"], state["skipped"], state["done"]) == (0, 4, 2, 6)
    assert sorted(answers(folder / "out.jsonl")) == [f"shots/s00{n}.png" for n in (0, 2, 3, 5)]
    assert (shots / "s001.txt").read_text() == "by hand"
    assert b"6 with a sidecar there before" in run(*command).stderr


def test_one_target_that_cannot_be_written_is_counted_and_stops_nothing(run: Run, shots: Path, folder: Path) -> None:
    (shots / "s001.txt").mkdir()
    done = run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl", "--sidecar", "txt")
    assert done.returncode == 5, done.stderr
    assert len(answers(folder / "out.jsonl")) == 6
    assert sum((shots / f"s00{n}.txt").is_file() for n in range(6)) == 5
    assert b"s001.txt" in done.stderr


def test_tags_are_keywords(run: Run, shots: Path, folder: Path) -> None:
    command = ("batch", "shots/s001.png", "-o", "out.jsonl", "--preset", "tags", "-n", "40")
    done = run(*command, "--embed", "xmp,exif,iptc", "--embed-to", "out")
    assert done.returncode == 0, done.stderr
    assert b"no place for IPTC in 1 file" in done.stderr
    (row,) = rows(folder / "out.jsonl")
    found = (folder / "out" / "shots" / "s001.png").read_bytes()
    assert keywords_of(found, Field.XMP, "s001.png") == keywords_in(row["answer"])
    assert description_of(found, Field.XMP, "s001.png") is None
    assert run(*command, "--embed", "exif", "--embed-to", "out").returncode == 2
    assert run(*command[:-4], "--keywords").returncode == 2


def test_pages_and_frames_are_rows_and_a_killed_run_goes_on(shots: Path, folder: Path) -> None:
    images = [scene(number).draw(196, 140) for number in range(120)]
    write_pdf(folder / "long.pdf", images)
    write_clip(folder / "clip.mp4", [(i, image) for i, image in enumerate(images[:20])], 20)
    command = [*COMMAND, "long.pdf", "clip.mp4", "--every", "1s", "-p", PROMPT, "-o", "out.jsonl", "-q"]
    out = folder / "out.jsonl"
    for wanted in (3_000, 40_000):
        process = subprocess.Popen(command, cwd=folder)  # 140 rows: the engine has a process of its own
        while process.poll() is None and (not out.exists() or out.stat().st_size < wanted):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    done = subprocess.run(command[:-1], cwd=folder, capture_output=True, check=True)
    said = answers(out)
    assert len(said) == 140
    assert b" there before" in done.stderr
    right = sum(said[f"long.pdf#page={n + 1}"] == scene(n).caption for n in range(120))
    assert right >= 114, "this model errs now and then"
    assert sum(said[f"clip.mp4#t={n}.0"] == said[f"long.pdf#page={n + 1}"] for n in range(20)) >= 18


def test_a_whole_document_is_one_row(run: Run, folder: Path) -> None:
    write_pdf(folder / "four.pdf", [scene(number).draw(196, 140) for number in range(4)])
    asked = ["batch", "four.pdf", "-p", PROMPT, "-o", "out.csv", "--whole", "--html", "g.html"]
    done = run(*asked, "-c", "160")
    assert done.returncode == 0, done.stderr
    assert "pages 1-2 (2 of 4)" in (folder / "out.csv").read_text()
    assert (folder / "g.html").read_text().count("data:image/jpeg") == 1
    again = run(*asked, "-c", "2000")
    assert b"1 answered" in again.stderr
    assert "pages 1-4," in (folder / "out.csv").read_text()


def test_a_dry_run_leaves_out_what_is_done(run: Run, shots: Path, folder: Path) -> None:
    write_pdf(folder / "four.pdf", [scene(number).draw(196, 140) for number in range(4)])
    run("batch", "shots", "-p", PROMPT, "-o", "out.jsonl")
    before = (folder / "out.jsonl").read_bytes()
    done = run("batch", "shots", "four.pdf", "-p", PROMPT, "-o", "out.jsonl", "--dry-run")
    said = b" ".join(done.stdout.split())
    assert b"inputs 10, of them 0 unreadable, 6 answered before" in said, done.stderr
    assert b"tokens 140 of images" in said
    other = run("batch", "shots", "-p", "Else?", "-o", "out.jsonl", "--dry-run")
    assert b"inputs 6, of them 0 unreadable sizes" in b" ".join(other.stdout.split())
    assert (folder / "out.jsonl").read_bytes() == before


def test_a_dry_run_writes_nothing(run: Run, shots: Path, folder: Path) -> None:
    (shots / "bad.png").write_bytes(b"nothing")
    done = run("batch", "shots", "--preset", "caption", "--dry-run", "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert b"inputs      7, of them 1 unreadable" in done.stdout
    assert b"shots/bad.png" in done.stdout
    assert not (folder / "out.jsonl").exists()


WRONG = {
    "no output": (["shots"], 2, "-o"),
    "an output of no known kind": (["shots", "-o", "out.xlsx"], 2, "out.xlsx"),
    "an input that is not there": (["shot", "-o", "out.jsonl"], 3, "shot"),
    "an input that cannot be": (["x" * 300, "-o", "out.jsonl"], 3, "xxx"),
    "an input of nobody": (["~nobody-of-this-name/a.png", "-o", "out.jsonl"], 3, "~nobody"),
    "a field that cannot be": (["shots", "-p", "In {place}?", "-o", "out.jsonl"], 2, "{place}"),
    "an unknown preset": (["shots", "--preset", "capton", "-o", "out.jsonl"], 2, "capton"),
    "somebody else's file": (["shots", "-o", "mine.jsonl"], 2, "--restart"),
    "an output without its journal": (["shots", "-o", "mine.csv"], 2, "--restart"),
    "an output that is a folder": (["shots", "-o", "d.jsonl"], 2, "d.jsonl"),
    "pages of images": (["shots", "--pages", "1", "-o", "out.jsonl"], 2, "no PDF"),
    "pages that are none": (["shots", "--pages", "one", "-o", "out.jsonl"], 2, "one"),
    "frames in two ways": (["shots", "--every", "1s", "--frames", "2", "-o", "out.jsonl"], 2, "either"),
    "a whole of images": (["shots", "--whole", "-o", "out.jsonl"], 2, "--whole"),
    "a trigger word of nothing": (["shots", "--trigger-word", "sks", "-o", "out.jsonl"], 2, "--sidecar txt"),
    "old sidecars, and no new ones": (["shots", "--sidecar-exists", "skip", "-o", "out.jsonl"], 2, "--sidecar txt"),
    "a column of no table": (["shots", "--id-column", "name", "-o", "out.jsonl"], 2, "no table"),
    "embedding nowhere": (["shots", "--embed", "xmp", "-o", "out.jsonl"], 2, "--embed-to"),
    "embedding nothing": (["shots", "--embed-in-place", "-o", "out.jsonl"], 2, "--embed"),
    "embedding in no field": (
        ["shots", "--embed", "xpm", "--embed-in-place", "-o", "out.jsonl"],
        2,
        "xmp, exif, iptc",
    ),
    "copies among the inputs": (
        ["shots", "--embed", "xmp", "--embed-to", "shots/new", "-o", "out.jsonl"],
        2,
        "shots/new",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_before_anything_is_loaded(run: Run, shots: Path, folder: Path, case: str) -> None:
    arguments, code, named = WRONG[case]
    (folder / "mine.jsonl").write_text('{"text": "mine"}\n')
    (folder / "mine.csv").write_text("mine\n")
    (folder / "d.jsonl").mkdir()
    done = run("batch", *arguments)
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert named in said
    assert "Traceback" not in said
    assert (folder / "mine.jsonl").read_text() == '{"text": "mine"}\n'


def test_help_loads_nothing_heavy() -> None:
    code = ["import sys", "sys.argv = ['ggufvlm', 'batch', '--help']", "from ggufvlm.cli.main import main"]
    assert loaded_by("\n".join([*code, "try: main()", "except SystemExit: pass"])) == set()


@pytest.mark.parametrize("isolation", ["--isolate", "--no-isolate"])
def test_a_terminal_shows_how_far_it_is_and_ctrl_c_keeps_the_rows(shots: Path, folder: Path, isolation: str) -> None:
    pexpect = pytest.importorskip("pexpect")
    draw_scenes(shots, 100)
    arguments = [*COMMAND[1:], "shots", "-p", PROMPT, "-o", "out.jsonl", isolation]
    child = pexpect.spawn(COMMAND[0], arguments, cwd=folder, dimensions=(24, 100), encoding="utf-8", timeout=30)
    child.expect(r"\d+/100")
    child.expect(r"[1-9]\d*/100")
    child.sendintr()
    child.expect("interrupted; the same command goes on")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert 0 < len(answers(folder / "out.jsonl")) < 100
