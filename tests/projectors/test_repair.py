"""The probe for the defect, and the derived projector."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ggufvlm import EngineConfig
from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, encode_value
from ggufvlm.llama.cancellation import LoadAborted
from ggufvlm.llama.chunks import ImageInput
from ggufvlm.llama.model import Model
from ggufvlm.llama.probe import encode_image
from ggufvlm.llama.projector import Projector, TokenBudget
from ggufvlm.media import Image
from ggufvlm.media.pixels.prepare import roll_patches
from ggufvlm.projectors import llava_probe
from ggufvlm.projectors.llava_probe import ProbeVerdict, examine_library, run_probe
from ggufvlm.projectors.repair import derived_projector, rearrange
from tests.support.llava_files import MMPROJ, MODEL, REPAIR, WIDTH, changed, differences, load_llava, noise


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache folder of this test, as clean_environment sets it."""
    return tmp_path / "cache"


# -- the probe


def test_this_library_has_the_defect() -> None:
    assert run_probe(MODEL, WIDTH) == ProbeVerdict("shifted", skips_last_block=True)


def test_the_repair_makes_the_probe_right(tmp_path: Path) -> None:
    llava_probe.write_probe(tmp_path / "probe.gguf", WIDTH)
    derived = derived_projector(tmp_path / "probe.gguf", REPAIR)
    image = Image.from_rgb(28, 28, llava_probe.probe_image(), "probe")
    found = llava_probe.read_rows(encode_image(MODEL, derived, 28, 28, roll_patches(image, 14).rgb))
    # patch, row of the position table (4: the class token's own), the last block
    assert found == [(0, 5, 9), (1, 6, 9), (2, 7, 9), (3, 4, 9)]


def probe_rows(*rows: tuple[int, ...]) -> np.ndarray:
    output = np.zeros((4, WIDTH), np.float32)
    for row, numbers in enumerate(rows):
        output[row, list(numbers)] = 0.84
    return output


def test_verdicts() -> None:
    right = probe_rows((0, 5, 9), (1, 6, 9), (2, 7, 9), (8, 9))
    assert llava_probe.judge(right) == ProbeVerdict("right", skips_last_block=False)
    assert llava_probe.judge(probe_rows((0, 5), (1, 6), (2, 7), (8,))) == ProbeVerdict("right", skips_last_block=True)
    shifted = probe_rows((1, 5), (2, 6), (7,), (3, 8))
    assert llava_probe.judge(shifted) == ProbeVerdict("shifted", skips_last_block=True)
    # only half of it mended: rows, but not positions
    assert llava_probe.judge(probe_rows((0, 4), (1, 5), (2, 6), (7,))).order == "unknown"
    assert llava_probe.judge(np.full((4, WIDTH), np.nan, np.float32)).order == "unknown"


def test_a_probe_that_cannot_run_is_no_verdict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run_probe(MODEL, 8).order == "unknown"
    assert run_probe(tmp_path / "missing.gguf", WIDTH).order == "unknown"
    assert "could not be run" in caplog.text


def test_the_verdict_is_kept_for_other_processes(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(llava_probe, "_verdicts", {})
    verdict = examine_library(MODEL, WIDTH)
    (note,) = (cache / "notes").iterdir()
    monkeypatch.setattr(llava_probe, "_verdicts", {})
    monkeypatch.setattr(llava_probe, "run_probe", None)
    assert examine_library(MODEL, WIDTH) == verdict
    monkeypatch.undo()
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(cache))
    monkeypatch.setattr(llava_probe, "_verdicts", {})
    note.write_bytes(b"\xffnonsense")
    assert examine_library(MODEL, WIDTH) == verdict


def test_the_class_token_s_row_is_replaced() -> None:
    derived = derived_projector(MMPROJ, REPAIR)
    image = noise(112, 112).tobytes()
    as_it_is = encode_image(MODEL, derived, 112, 112, image)
    skeleton = Model.skeleton(MODEL)
    projector = Projector(derived, skeleton, EngineConfig(), TokenBudget(), 1, drops_last_row=True)
    chunks = projector.tokenize([ImageInput("0", 112, 112, image)], add_special=False)
    repaired = projector.encode(next(chunk for chunk in chunks if chunk.tokens is None))
    chunks.close()
    projector.close()
    np.testing.assert_array_equal(repaired[-1], repaired[-2])
    assert not np.allclose(as_it_is[-1], as_it_is[-2])
    np.testing.assert_allclose(repaired[:-1], as_it_is[:-1], atol=0.05)  # flash attention differs


# -- the derived projector


def test_it_is_written_once(cache: Path) -> None:
    with load_llava(cache) as vlm:
        assert not differences(vlm, 5)
    (derived,) = (cache / "projectors").iterdir()
    written = derived.stat()
    with load_llava(cache) as vlm:
        assert not differences(vlm, 5)
    assert list((cache / "projectors").iterdir()) == [derived]
    assert (derived.stat().st_mtime_ns, derived.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    if sys.platform != "win32":
        assert (cache / "projectors").stat().st_mode & 0o777 == 0o700


def test_its_name_hangs_on_the_content_only(tmp_path: Path) -> None:
    copy = shutil.copy(MMPROJ, tmp_path / "other.gguf")
    assert derived_projector(copy, REPAIR) == derived_projector(MMPROJ, REPAIR)
    data = bytearray(copy.read_bytes())
    data[-40] ^= 1  # a weight; the header stays
    copy.write_bytes(data)
    assert derived_projector(copy, REPAIR) != derived_projector(MMPROJ, REPAIR)


@pytest.mark.parametrize("left", [0, 1000, -5000])
def test_a_damaged_one_is_written_again(left: int) -> None:
    derived = derived_projector(MMPROJ, REPAIR)
    whole = derived.read_bytes()
    derived.write_bytes(whole[:left])
    assert derived_projector(MMPROJ, REPAIR) == derived
    assert derived.read_bytes() == whole


def layer(n: int) -> bytes:
    return encode_value("[int32]", [n])


def test_what_is_changed_in_it(tmp_path: Path) -> None:
    derived = derived_projector(MMPROJ, REPAIR)
    before, after = read_header(MMPROJ), read_header(derived)
    assert after.metadata == {**before.metadata, "clip.vision.feature_layer": (4,)}
    assert after.types["clip.vision.feature_layer"] == "[int32]"
    same = [tensor for tensor in copied(derived, after) if tensor.name != "v.position_embd.weight"]
    others = [tensor for tensor in copied(MMPROJ, before) if tensor.name != "v.position_embd.weight"]
    assert [(tensor.name, tensor.data()) for tensor in same] == [(tensor.name, tensor.data()) for tensor in others]
    named = changed(tmp_path / "p.gguf", lambda pairs: pairs.update({"clip.vision.feature_layer": layer(3)}))
    assert read_header(derived_projector(named, REPAIR)).metadata["clip.vision.feature_layer"] == (3,)


def test_the_position_table() -> None:
    assert rearrange(b"CC00112233", 4) == b"33001122CC"


def test_several_processes_at_once(cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ggufvlm.projectors.repair import Repair, derived_projector\n"
        "print(derived_projector(Path(sys.argv[1]), Repair(all_blocks=True, class_token=True)))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(MMPROJ)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert {Path(path) for path in said} == set((cache / "projectors").iterdir())
    assert len(said) == 1


def test_stopping_leaves_nothing(cache: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise LoadAborted("stop")

    with pytest.raises(LoadAborted):
        derived_projector(MMPROJ, REPAIR, stop)
    assert list((cache / "projectors").iterdir()) == []


def test_what_a_killed_process_left_goes_away(cache: Path) -> None:
    folder = cache / "projectors"
    folder.mkdir(parents=True)
    old, new = folder / ".a.gguf.01234567.partial", folder / ".b.gguf.01234567.partial"
    for path in (old, new):
        path.touch()
    os.utime(old, (1e9, 1e9))
    derived_projector(MMPROJ, REPAIR)
    assert not old.exists()
    assert new.exists()


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be made") as caught:
        derived_projector(MMPROJ, REPAIR)
    assert caught.value.hint == "GGUFVLM_CACHE_DIR=FOLDER puts it elsewhere"


def test_a_tower_with_all_blocks_of_clip_l_stops_before_the_last(tmp_path: Path) -> None:
    def widen(pairs: dict[str, bytes]) -> None:
        pairs["clip.vision.embedding_length"] = encode_value("uint32", 1024)
        pairs["clip.vision.block_count"] = encode_value("uint32", 24)

    header = read_header(derived_projector(changed(tmp_path / "p.gguf", widen), REPAIR))
    assert header.metadata["clip.vision.feature_layer"] == (23,)


def test_a_position_table_of_another_size(tmp_path: Path) -> None:
    size = {"clip.vision.image_size": encode_value("uint32", 224)}
    with pytest.raises(ModelError, match="not one of 16x16 patches"):
        derived_projector(changed(tmp_path / "p.gguf", lambda pairs: pairs.update(size)), REPAIR)
