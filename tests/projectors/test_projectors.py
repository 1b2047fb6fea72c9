"""Which projector is loaded here, and how it is made: tried with the built-in model, whose projector is small."""

from __future__ import annotations

import errno
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ggufvlm import VLM
from ggufvlm.config import EngineConfig
from ggufvlm.engine.engine import PromptProgress
from ggufvlm.errors import EngineError
from ggufvlm.gguf.convert import BF16, F16, F32, Q8_0, convert, decode, encode, matrix_type
from ggufvlm.gguf.header import read_header
from ggufvlm.hardware import system
from ggufvlm.hardware.memory import predict
from ggufvlm.hardware.offload import PROCESS
from ggufvlm.llama import devices
from ggufvlm.llama.cancellation import CancelToken, LoadAborted
from ggufvlm.llama.chunks import ImageInput
from ggufvlm.llama.probe import encoder
from ggufvlm.models.resolve import find_model
from ggufvlm.projectors import bf16_trial as projector_speed
from ggufvlm.projectors import derive as projector_derived
from ggufvlm.projectors import policy as projector_choice
from ggufvlm.projectors import select as projector_setup
from ggufvlm.projectors.derive import DerivationRequest, cosines, derive, trial_image
from ggufvlm.projectors.policy import MIN_SIZE, Situation, choose, is_alike, wins
from ggufvlm.projectors.repair import Repair
from ggufvlm.projectors.select import Setup, find_set_up, set_up
from ggufvlm.tools import doctor
from tests.support import llava_files
from tests.support.scenes import random_scene

FILES = find_model("demo", fetch=None)
REQUEST = DerivationRequest(model=FILES.model, source=FILES.mmproj, repair=Repair(), type="BF16")
FAST = {"AVX512_BF16": "1"}
SPACE = namedtuple("SPACE", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where derived projectors of this test lie, as clean_environment sets it."""
    return tmp_path / "cache" / "projectors"


@pytest.fixture
def fast_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where BF16 wins, even for a projector as small as the built-in one."""
    monkeypatch.setattr(projector_choice, "MIN_SIZE", 1)
    monkeypatch.setattr(devices, "cpu_features", lambda: FAST)
    monkeypatch.setattr(projector_setup, "bf16_speedup", lambda **_: 1.4)


def load_demo() -> VLM:
    return VLM.load("demo")


def projector_of(vlm: VLM, side: int = 112) -> str | None:
    image = random_scene(random.Random(1), side, side).draw(side, side)
    return vlm.describe(image, "Describe this image.", max_tokens=1).projector


# -- the decision


def situation(**changes: object) -> Situation:
    usual = {"size": MIN_SIZE, "matrix_type": F16, "on_cpu": True, "does_not_fit": False, "features": FAST}
    return Situation(**{**usual, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "BF16"),
        ({"matrix_type": F32}, "BF16"),
        ({"features": {"AMX_INT8": "1"}}, "BF16"),
        ({"features": {"AVX512": "1", "AVX512_BF16": "0"}}, None),
        ({"on_cpu": False}, None),
        ({"matrix_type": BF16}, None),
        ({"matrix_type": Q8_0}, None),
        ({"matrix_type": None}, None),
        ({"size": MIN_SIZE - 1}, None),
        ({"does_not_fit": True}, "Q8_0"),
        ({"does_not_fit": True, "features": {}, "matrix_type": BF16}, "Q8_0"),
    ],
)
def test_what_is_chosen(changes: dict[str, object], expected: str | None) -> None:
    assert choose(situation(**changes)) == expected
    assert choose(situation(**changes), "Original") is None


def test_a_trial_is_won_by_a_clear_margin_only() -> None:
    assert [wins(speedup) for speedup in (None, 0.9, 1.0, 1.1, 1.12, 1.4)] == [False] * 4 + [True] * 2


def test_alike_is_every_row() -> None:
    assert is_alike(0.9995, 0.995)
    assert not is_alike(0.9995, 0.9)
    assert not is_alike(0.998, 0.995)
    assert not is_alike(float("nan"), float("nan"))


def test_cosines() -> None:
    rows = np.eye(3, dtype=np.float32)
    assert cosines(rows, 2 * rows) == (1.0, 1.0)
    assert cosines(rows, rows[[0, 2, 1]]) == pytest.approx((1 / 3, 0))
    assert not is_alike(*cosines(rows, np.zeros_like(rows)))
    assert not is_alike(*cosines(rows, rows[:2]))


# -- the trial of speed


def test_the_trial_measures_something_on_any_machine() -> None:
    speedup = projector_speed.run_probe()
    assert speedup is not None
    assert 0.01 < speedup < 100


def test_a_note_spares_later_processes_the_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried: list[float] = []
    monkeypatch.setattr(projector_speed, "run_probe", lambda *_: tried.append(1.25) or 1.25)
    assert projector_speed.bf16_speedup(remember=False) == 1.25
    assert projector_speed.bf16_speedup() == 1.25
    assert projector_speed.bf16_speedup() == 1.25
    assert len(tried) == 2
    (note,) = (tmp_path / "cache" / "notes").iterdir()
    note.write_bytes(b"nonsense")
    assert projector_speed.bf16_speedup() == 1.25
    assert len(tried) == 3


def test_a_trial_that_is_stopped_ends() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(LoadAborted):
        projector_speed.run_probe(cancel=cancel)


def test_a_lost_trial_leaves_the_projector_alone(
    fast_here: None, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(projector_setup, "bf16_speedup", lambda **_: 1.05)
    assert set_up(Setup(files=FILES, repair=Repair())) is None
    assert list(folder.iterdir()) == []


# -- the derived file


def rows_of(mmproj: Path) -> np.ndarray:
    image = ImageInput("0", 112, 112, trial_image())
    with encoder(FILES.model, mmproj, image, EngineConfig(mmproj_offload=False)) as (encode_it, _):
        return encode_it()


@pytest.mark.parametrize("kind", ["BF16", "Q8_0"])
def test_it_sees_what_the_original_sees(kind: projector_choice.DerivedType) -> None:
    derived = derive(DerivationRequest(model=FILES.model, source=FILES.mmproj, repair=Repair(), type=kind))
    assert derived is not None
    assert matrix_type(read_header(derived)) == {"BF16": BF16, "Q8_0": Q8_0}[kind]
    mean, minimum = cosines(rows_of(FILES.mmproj), rows_of(derived))
    assert mean > 0.9998
    assert minimum > 0.9995


@pytest.fixture
def derived_demo(fast_here: None) -> Iterator[VLM]:
    with load_demo() as vlm:
        yield vlm


def test_answers_stay_right(derived_demo: VLM, folder: Path) -> None:
    assert projector_of(derived_demo) == "BF16 (derived, faster here)"
    assert len(list(folder.iterdir())) == 1
    for seed in range(20):
        scene = random_scene(random.Random(seed), 196, 140)
        assert derived_demo.describe(scene.draw(196, 140)).text == scene.caption


def test_it_is_made_once(fast_here: None, folder: Path) -> None:
    made = set_up(Setup(files=FILES, repair=Repair()))
    assert made is not None
    written = made.path.stat().st_mtime_ns
    assert set_up(Setup(files=FILES, repair=Repair())) == made == find_set_up(Setup(files=FILES, repair=Repair()))
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [written]


def test_a_damaged_one_is_made_again() -> None:
    derived = derive(REQUEST)
    assert derived is not None
    whole = derived.read_bytes()
    derived.write_bytes(whole[:-1000])
    assert derive(REQUEST) == derived
    assert derived.read_bytes() == whole


def test_a_repaired_projector_is_derived_from(folder: Path) -> None:
    request = DerivationRequest(
        model=llava_files.MODEL, source=llava_files.MMPROJ, repair=llava_files.REPAIR, type="BF16"
    )
    derived = derive(request)
    assert derived is not None
    header = read_header(derived)
    assert matrix_type(header) == BF16
    assert header.metadata["clip.vision.feature_layer"] == (4,)
    assert (
        derive(DerivationRequest(model=request.model, source=request.source, repair=Repair(), type="BF16")) != derived
    )


def test_progress_rises_to_the_end() -> None:
    shares: list[float] = []
    derive(REQUEST, shares.append)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(shares) > 50


def test_loading_tells_how_far_it_is(fast_here: None) -> None:
    seen: list[PromptProgress] = []
    with VLM(FILES, EngineConfig(), on_progress=seen.append) as vlm:
        vlm.wait_until_loaded()
    assert {progress.stage for progress in seen} == {"prepare"}
    assert (seen[0].done, seen[-1].done) == (0, 100)
    with VLM(FILES, EngineConfig(), on_progress=seen.append) as vlm:
        seen.clear()
        vlm.wait_until_loaded()
    assert seen == []


def test_one_that_sees_something_else_is_never_used(
    fast_here: None, monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def mix_up(file: object, source: Path, header: object, type_name: str, *_: object) -> None:
        data = bytearray(source.read_bytes())
        half = len(data) // 2
        data[half:] = b"\x11" * (len(data) - half)  # weights that are numbers, but not these
        file.write(data)  # type: ignore[attr-defined]

    monkeypatch.setattr(projector_derived, "write_converted", mix_up)
    with load_demo() as vlm:
        assert projector_of(vlm) is None
    assert list(folder.iterdir()) == []
    assert "it sees something else" in caplog.text
    monkeypatch.undo()
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(folder.parent))
    assert derive(REQUEST) is None  # not a second time, though now it would succeed


def test_a_full_disk_leaves_the_original(
    fast_here: None, monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SPACE(1 << 40, 1 << 40, 1 << 30))
    assert set_up(Setup(files=FILES, repair=Repair())) is None
    assert "too little room" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SPACE(1 << 40, 0, 1 << 40))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(projector_derived, "write_converted", fail)
    with load_demo() as vlm:
        assert projector_of(vlm) is None
    assert "No space left on device" in caplog.text
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_leaves_the_original(
    fast_here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(tmp_path / "file"))
    with load_demo() as vlm:
        assert projector_of(vlm) is None
    assert "cannot be made" in caplog.text


def test_the_user_can_forbid_it(fast_here: None, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("GGUFVLM_PROJECTOR", "original")
    with load_demo() as vlm:
        assert projector_of(vlm) is None
    assert not folder.exists()


def test_a_small_projector_is_loaded_as_it_is(folder: Path) -> None:
    with load_demo() as vlm:
        assert projector_of(vlm) is None
    assert not folder.exists()


class CancelledLater(CancelToken):
    """Is cancelled once the work has looked at it a number of times."""

    def __init__(self, n_looks: int) -> None:
        super().__init__()
        self._n_looks = n_looks

    @property
    def is_cancelled(self) -> bool:
        self._n_looks -= 1
        return self._n_looks < 0


@pytest.mark.parametrize("n_looks", [3, 40, 130, 140])
def test_stopping_leaves_nothing(folder: Path, n_looks: int) -> None:
    with pytest.raises(LoadAborted):
        derive(REQUEST, cancel=CancelledLater(n_looks))
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to another process")
def test_ctrl_c_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """As the command line meets it: the process ends on the spot, in the midst of writing."""
    program = (
        "import time; from ggufvlm.projectors import policy, select, derive\n"
        "from ggufvlm.llama import devices; from ggufvlm.cli.main import program; import sys\n"
        "policy.MIN_SIZE = 1; devices.cpu_features = lambda: {'AVX512_BF16': '1'}\n"
        "select.bf16_speedup = lambda **_: 1.4\n"
        "write = derive.write_converted\n"
        "def slow(*given): write(*given); time.sleep(60)\n"
        "derive.write_converted = slow\n"
        "sys.argv = ['ggufvlm', 'describe', '-m', 'demo', sys.argv[1]]; program()"
    )
    image = tmp_path / "image.png"
    random_scene(random.Random(1), 112, 112).draw(112, 112).save(image)
    command = [sys.executable, "-c", program, str(image)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(folder.glob(".*.partial")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert list(folder.iterdir()) == []


# -- what the doctor says


@pytest.mark.parametrize(
    ("features", "speedup", "text"),
    [
        (FAST, 1.37, "run fastest in BF16 here (1.37 times as fast as F16, measured)"),
        (FAST, 1.02, "are used as published (BF16: 1.02 times as fast as F16, measured)"),
        (FAST, None, "are used as published (BF16: not measured)"),
        ({"AVX2": "1"}, 1.37, "are used as published: this CPU, or this build, has no instructions for BF16"),
    ],
)
def test_the_doctor_tells_the_verdict(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, str], speedup: float | None, text: str
) -> None:
    monkeypatch.setattr(devices, "cpu_features", lambda: features)
    monkeypatch.setattr(projector_speed, "bf16_speedup", lambda **_: speedup)
    assert [finding.text for finding in doctor.examine(offline=True) if finding.topic == "projectors"] == [text]


# -- where memory is short


def test_what_does_not_fit_is_loaded_in_q8_0(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(projector_choice, "MIN_SIZE", 1)
    monkeypatch.setattr(devices, "supports_gpu", lambda: False)
    needed = predict(read_header(FILES.model), read_header(FILES.mmproj)).total + PROCESS
    monkeypatch.setattr(system, "available_memory", lambda: needed - 1000)
    with load_demo() as vlm:
        assert projector_of(vlm) == "Q8_0 (derived, fits into memory)"
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setenv("GGUFVLM_PROJECTOR", "original")
    with pytest.raises(EngineError, match="needs"):
        load_demo()
    monkeypatch.delenv("GGUFVLM_PROJECTOR")
    monkeypatch.setattr(system, "available_memory", lambda: needed // 2)
    with pytest.raises(EngineError, match="needs"):
        load_demo()


# -- conversion


def test_looking_up_bf16_gives_what_computing_gives() -> None:
    every = np.arange(1 << 16, dtype="<u2").tobytes()
    with np.errstate(invalid="ignore"):
        assert bytes(convert(every, F16, BF16)) == encode(decode(every, F16), BF16).tobytes()


def test_pieces_meet() -> None:
    numbers = (
        np.random.default_rng(1).normal(0, 1, 10_000 * 32).astype("<f4")
    )  # more than one piece, and not whole ones
    for new_type in (F16, BF16, Q8_0):
        assert bytes(convert(numbers.tobytes(), F32, new_type)) == encode(numbers, new_type).tobytes()
    halves = numbers.astype("<f2").tobytes()
    assert bytes(convert(halves, F16, Q8_0)) == encode(decode(halves, F16), Q8_0).tobytes()
    assert bytes(convert(halves, F16, BF16)) == encode(decode(halves, F16), BF16).tobytes()
