"""Nothing is lost, nothing is asked twice: resuming, renames, changed prompts, duplicates, seeds."""

from __future__ import annotations

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import UsageError
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import NEWER
from ggufvlm.batch.outputs.writers import write_csv
from ggufvlm.constraints.constraint import Constraint
from tests.batch.conftest import Runner, draw_scenes, scene

OUT = Path("out.jsonl")


def rows(path: Path = OUT) -> dict[str, dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    found = [json.loads(line.decode("utf-8")) for line in lines]
    assert len({row["id"] for row in found}) == len(found), "each input has one row"
    return {row["id"]: row for row in found}


def test_each_image_gets_the_answer_about_it(runner: Runner, eight: Path) -> None:
    progress = runner(Inputs([str(eight)]))
    assert (progress.answered, progress.done, progress.errors) == (8, 8, 0)
    answers = {name: row["answer"] for name, row in rows().items()}
    right = sum(answers[str(eight / f"s{number:03}.png")] == scene(number).caption for number in range(8))
    assert right >= 7, "this model errs now and then"


def test_a_second_run_asks_nothing_and_leaves_the_file_as_it_is(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    before = OUT.read_bytes()
    progress = runner(Inputs([str(eight)]))
    assert (runner.asked, progress.kept, OUT.read_bytes()) == ([], 8, before)


def test_new_images_alone_are_asked(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    draw_scenes(eight, 2, first=8)
    progress = runner(Inputs([str(eight)]))
    assert (len(runner.asked), progress.kept, len(rows())) == (2, 8, 10)


def test_renamed_files_move_their_rows_and_are_not_asked_again(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    before = {row["image"]: row["answer"] for row in rows().values()}
    for path in sorted(eight.iterdir()):
        path.rename(path.with_name(f"new-{path.name}"))
    progress = runner(Inputs([str(eight)]))
    assert (runner.asked, progress.copied) == ([], 8)
    assert set(rows()) == {str(path) for path in eight.iterdir()}
    assert {row["image"]: row["answer"] for row in rows().values()} == before


def test_rows_of_inputs_that_are_not_named_this_time_stay(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    runner(Inputs([str(eight / "s000.png")]))
    assert len(rows()) == 8


def test_the_same_pixels_in_another_file_are_the_same_image(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    scene(3).draw(196, 140).save(eight / "s003.bmp")
    (eight / "s003.png").unlink()
    runner(Inputs([str(eight)]))
    assert runner.asked == []


def test_a_changed_prompt_replaces_the_rows_it_changes(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    table = eight / "list.jsonl"
    lines = [
        {"image": f"s{n:03}.png", "prompt": "What is on the left?" if n < 3 else "Describe this image."}
        for n in range(8)
    ]
    table.write_text("\n".join(map(json.dumps, lines)))
    runner(Inputs([str(table)]))
    assert len(runner.asked) == 3
    assert sum(row["prompt"] == "What is on the left?" for row in rows().values()) == 3


@pytest.mark.parametrize("change", [{"max_tokens": 50}, {"temperature": 0.5}, {"repeat_penalty": 1.1}])
def test_changed_settings_ask_again(runner: Runner, eight: Path, change: dict[str, Any]) -> None:
    runner(Inputs([str(eight)]))
    runner(Inputs([str(eight)]), settings=change)
    assert (len(runner.asked), len(rows())) == (8, 8)


def test_duplicates_are_answered_once_and_each_has_its_row(runner: Runner, eight: Path) -> None:
    for number in range(5):
        shutil.copy(eight / "s001.png", eight / f"copy{number}.png")
    progress = runner(Inputs([str(eight)]))
    assert (len(runner.asked), progress.copied, len(rows())) == (8, 5, 13)
    same = [row for row in rows().values() if row["image"] == rows()[str(eight / "s001.png")]["image"]]
    assert len(same) == 6
    assert len({row["answer"] for row in same}) == 1
    assert sum(row["same_as"] is not None for row in same) == 5


def test_a_table_may_ask_several_questions_about_one_image(runner: Runner, eight: Path) -> None:
    (eight / "t.csv").write_text("file,question\ns000.png,Describe this image.\ns000.png,What is on the left?\n")
    runner(Inputs([str(eight / "t.csv")]))
    name = str(eight / "s000.png")
    assert set(rows()) == {name, f"{name}#2"}
    runner(Inputs([str(eight / "t.csv")]))
    assert runner.asked == []


def test_choices_at_random_are_made_again_in_the_same_way(runner: Runner, eight: Path) -> None:
    hot = {"temperature": 1.5, "top_k": 0}
    runner(Inputs([str(eight)]), settings=hot)
    first = {name: (row["answer"], row["seed"]) for name, row in rows().items()}
    OUT.unlink()
    runner(Inputs([str(eight)]), settings=hot)
    assert {name: (row["answer"], row["seed"]) for name, row in rows().items()} == first
    assert len({seed for _, seed in first.values()}) == 8


def test_errors_are_tried_again(runner: Runner, eight: Path) -> None:
    good = (eight / "s004.png").read_bytes()
    (eight / "s004.png").write_bytes(good[: len(good) // 2])
    assert runner(Inputs([str(eight)])).errors == 1
    assert rows()[str(eight / "s004.png")]["error"]["class"] == "ImageError"
    (eight / "s004.png").write_bytes(good)
    progress = runner(Inputs([str(eight)]))
    assert (len(runner.asked), progress.errors, rows()[str(eight / "s004.png")]["error"]) == (1, 0, None)


def test_too_many_errors_end_the_run(runner: Runner, eight: Path) -> None:
    for number in range(6):
        (eight / f"s{number:03}.png").write_bytes(b"nothing")
    progress = runner(Inputs([str(eight)]), max_errors=3)
    assert (progress.stopped, progress.errors) == (True, 3)
    assert sum(row["error"] is not None for row in rows().values()) == 3


def test_rows_of_an_earlier_version_are_known(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    old = [{name: value for name, value in row.items() if name not in NEWER} for row in rows().values()]
    OUT.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert (runner(Inputs([str(eight)])).kept, runner.asked) == (8, [])
    draw_scenes(eight, 1, first=8)
    runner(Inputs([str(eight)]))
    with Journal(OUT) as journal:
        write_csv(Path("out.csv"), journal.rows())
    assert len(Path("out.csv").read_text().splitlines()) == 10


def test_settings_that_came_later_change_no_hash_where_they_are_not_used(runner: Runner) -> None:
    assert runner.identity().settings_hash == "12bb30e97982ec92bfb5bed3c0c78c87"
    assert runner.identity(logprobs=2).settings_hash != runner.identity().settings_hash
    assert runner.identity(think=True).settings_hash != runner.identity().settings_hash
    constraint = Constraint("regex", "[a-z]+")
    assert runner.identity(constraint=constraint).settings_hash != runner.identity().settings_hash


# -- what a killed process leaves behind


def test_half_a_row_is_cut_off(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    whole = OUT.read_bytes()
    OUT.write_bytes(whole[:-100])
    runner(Inputs([str(eight)]))
    assert (len(runner.asked), len(rows())) == (1, 8)


@pytest.mark.parametrize("left", [b"", b"{", b'{"id": "a', b"\0" * 4096])
def test_what_a_first_write_may_leave(runner: Runner, eight: Path, left: bytes) -> None:
    OUT.write_bytes(left)
    runner(Inputs([str(eight)]))
    assert len(rows()) == 8


def test_a_damaged_line_in_the_middle_is_left_out(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    lines = OUT.read_bytes().splitlines(keepends=True)
    lines[3] = b"\0" * 50 + lines[3][50:]
    OUT.write_bytes(b"".join(lines))
    runner(Inputs([str(eight)]))
    assert (len(runner.asked), len(rows())) == (1, 8)


@pytest.mark.parametrize("foreign", ['{"text": "mine"}\n', "notes\n", "no line end"])
def test_a_file_of_somebody_else_is_not_touched(folder: Path, foreign: str) -> None:
    OUT.write_text(foreign)
    with pytest.raises(UsageError, match="something else"):
        Journal(OUT)
    assert OUT.read_text() == foreign


def test_beginning_anew_keeps_the_old_file(folder: Path) -> None:
    OUT.write_text("mine\n")
    Journal(OUT, restart=True).close()
    assert (OUT.read_text(), Path("out.jsonl.bak").read_text()) == ("", "mine\n")


def test_two_runs_do_not_write_one_file(folder: Path) -> None:
    with Journal(OUT), pytest.raises(UsageError, match="another run"):
        Journal(OUT)
    Journal(OUT).close()


def test_rows_in_the_order_of_the_inputs(runner: Runner, eight: Path) -> None:
    runner(Inputs([str(eight)]))
    wanted = [str(eight / f"s{number:03}.png") for number in range(8)][::-1]
    with Journal(OUT) as journal:
        journal.put_in_order(wanted)
        assert [row["id"] for row in journal.rows()] == wanted
    assert list(rows()) == wanted


def test_prompts_with_exif(runner: Runner, folder: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0110] = "Pinhole"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    scene(1).draw(60, 60).save("a.jpg", exif=exif)
    scene(1).draw(60, 60).save("b.jpg")
    progress = runner(Inputs(["a.jpg", "b.jpg"]), prompt="{exif.Model}, {exif.DateTimeOriginal}?")
    assert (progress.answered, progress.errors) == (1, 1)
    assert rows()["a.jpg"]["prompt"] == "Pinhole, 2024:05:01 10:00:00?"
    assert "exif.Model" in rows()["b.jpg"]["error"]["text"]


def test_urls_are_not_downloaded_again(runner: Runner, eight: Path) -> None:
    served: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            served.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(eight)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        urls = [f"http://127.0.0.1:{server.server_port}/s00{n}.png" for n in (0, 1)]
        assert runner(Inputs(urls)).answered == 2
        assert runner(Inputs(urls)).kept == 2
        assert len(served) == 2
    finally:
        server.shutdown()
        server.server_close()
