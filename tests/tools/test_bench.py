from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from ggufvlm import EngineConfig, EngineError, MissingExtra, UsageError
from ggufvlm.media import load
from ggufvlm.models.resolve import find_model
from ggufvlm.tools.bench.against import compare_all, n_said
from ggufvlm.tools.bench.concurrency import common_steps
from ggufvlm.tools.bench.images import make_image, variant, variants
from ggufvlm.tools.bench.job import BenchJob, make_job
from ggufvlm.tools.bench.peers import find_program, mtmd_command, server_arguments
from ggufvlm.tools.bench.plot import check_target, save_plot
from ggufvlm.tools.bench.processes import FinishedProgram, run
from ggufvlm.tools.bench.results import Measurement, Ratio, number, sum_up
from ggufvlm.tools.bench.roofline import decode_bytes, encode_flop
from ggufvlm.tools.bench.subprocesses import arguments
from ggufvlm.tools.bench.suite import GROUPS, Report, parse_groups, run_suite
from tests.support.bench_programs import write_programs

posix = pytest.mark.skipif(sys.platform == "win32", reason="the programs are scripts")


@pytest.fixture
def job() -> BenchJob:
    return make_job(find_model("demo"), EngineConfig(n_threads=1), make_image(), repeat=2, n_tokens=6)


def say(_text: str) -> None:
    pass


# -- numbers


def test_a_result_has_its_spread() -> None:
    result = Measurement.of("prefill", "tokens/s", [3.0, 1.0, 2.0])
    assert (result.median, result.min, result.max, result.n) == (2.0, 1.0, 3.0, 3)


def test_a_ratio_is_taken_pair_by_pair() -> None:
    ratio = Ratio.of("cold", "other", "s", [1.0, 4.0, 2.0], [2.0, 2.0, 2.0])
    assert (ratio.ours, ratio.theirs, ratio.ratio, ratio.min, ratio.max) == (2.0, 2.0, 1.0, 0.5, 2.0)


def test_only_steps_in_which_all_lanes_run_count() -> None:
    early = [0.0, 1.0, 2.0, 3.0, 4.0]
    late = [2.1, 3.1, 4.1, 5.1, 6.1]
    assert common_steps({0: early, 1: late}) == [3.1, 4.1, 5.1, 6.1]  # one alone makes no step: all of its own then
    assert common_steps({0: [*early, 5.0, 6.0], 1: late}) == [3.1, 4.1, 5.1]


def test_results_come_in_the_order_of_the_documentation() -> None:
    names = ["first_token_disk", "decode_8", "overhead_8", "decode_16", "prefill", "batch", "encode_image"]
    order = [result.name for result in sum_up({name: [1.0] for name in names} | {"memory_peak": []})]
    assert order == ["encode_image", "prefill", "decode_8", "overhead_8", "decode_16", "first_token_disk", "batch"]


@pytest.mark.parametrize(
    ("value", "text"), [(36253.4, "36,253"), (100.4, "100"), (43.83, "43.8"), (2.404, "2.40"), (0.00233, "0.00233")]
)
def test_three_digits_count(value: float, text: str) -> None:
    assert number(value) == text


# -- images


def test_the_image_is_the_same_everywhere() -> None:
    image = make_image()
    assert (image.width, image.height) == (448, 448)
    assert image.id.startswith("1822063107b028cc")


def test_variants_differ_in_one_pixel() -> None:
    image = make_image(28, 28)
    made = variants(image, 3, first=7)
    assert len({image.id for image in made}) == 3
    assert made[0].id == variant(image, 7).id
    assert all(other.rgb[3:] == image.rgb[3:] for other in made)


# -- what a token reads and an image computes


def test_bytes_and_operations_follow_from_the_headers() -> None:
    files = find_model("demo")
    assert 0.9 * files.model.stat().st_size < decode_bytes(files.model) < files.model.stat().st_size
    small, large = encode_flop(files.mmproj, 144, 36), encode_flop(files.mmproj, 288, 72)
    assert 2 * small < large < 4 * small


# -- the suite


def test_groups_are_named_with_commas() -> None:
    assert parse_groups("") == GROUPS
    assert parse_groups("decode, encode") == ("encode", "decode")
    with pytest.raises(UsageError, match="'enc'"):
        parse_groups("enc")


@pytest.mark.slow
def test_everything_is_measured(job: BenchJob) -> None:
    report = run_suite(job, GROUPS, say)
    units = {result.name: result.unit for result in report.results}
    lanes = ("1", "2", "4", "8")
    assert units == {
        "encode_image": "ms",
        "encode_1000_patches": "ms",
        "prefill": "tokens/s",
        **{f"{name}_{n}": "tokens/s" for name in ("decode", "llama_decode") for n in lanes},
        **{f"overhead_{n}": "%" for n in lanes},
        **{f"first_token_{way}": "s" for way in ("cold", "warm", "disk")},
        "batch": "images/s",
        **({"memory_peak": "MB"} if sys.platform != "win32" else {}),
        "bandwidth": "GB/s",
        "arithmetic": "GFLOP/s",
        "decode_of_bandwidth": "%",
        "encode_of_arithmetic": "%",
    }
    assert all(result.n == job.repeat for result in report.results)
    assert all(0 < result.min <= result.median <= result.max for result in report.results)
    assert report.model["picture"] == {"width": 168, "height": 168, "n_patches": 144, "n_tokens": 36}
    per_1000 = report.median("encode_1000_patches") or 0
    assert per_1000 == pytest.approx((report.median("encode_image") or 0) * 1000 / 144)


def test_one_group_alone(job: BenchJob) -> None:
    report = run_suite(job, ("prefill",), say)
    assert [result.name for result in report.results] == ["prefill"]
    assert set(report.to_dict()) == {"schema", "ggufvlm", "machine", "model", "settings", "results", "left_out"}
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


# -- processes


def test_a_program_is_timed_to_its_first_word() -> None:
    program = "import sys, time; print(); sys.stdout.flush(); time.sleep(0.2); print('word'); time.sleep(0.2)"
    done = run([sys.executable, "-c", program])
    assert done.first is not None
    assert 0.2 <= done.first <= done.seconds - 0.2
    assert done.stdout.split() == ["word"]
    assert done.peak is None or done.peak > 1 << 20


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(EngineError, match="ended with code 3: no such thing"):
        run([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(EngineError, match="cannot be run"):
        run([Path("no-such-program")])


def test_a_configuration_becomes_options() -> None:
    config = EngineConfig(n_ctx=512, n_gpu_layers=-1, mmproj_offload=False, image_max_tokens=64)
    words = " ".join(arguments(config))
    assert "-c 512" in words
    assert "-ngl all" in words
    assert "--image-max-tokens 64" in words
    assert words.endswith("--no-mmproj-offload")


# -- against others


def test_the_same_settings_go_to_the_others(job: BenchJob) -> None:
    words = " ".join(map(str, mtmd_command(Path("cli"), job, Path("a.png"), "Why?", 9)))
    assert "--image a.png -p Why? -n 9 --ignore-eos --temp 0" in words
    assert "-t 1 -tb 1" in words
    assert "-np 8 -kvu" in " ".join(map(str, server_arguments(job, n_slots=8, n_ctx=4096)))


def test_how_long_an_answer_was() -> None:
    stderr = "prompt  61 tokens, 0 cached\nanswer  16 tokens, 90.1 tokens/s, first after 0.02 s, ended by stop\n"
    done = FinishedProgram(stdout="", stderr=stderr, first=None, last=0.0, seconds=1.0, peak=None)
    assert n_said(done) == 16


@pytest.mark.slow
@posix
def test_side_by_side(job: BenchJob, tmp_path: Path) -> None:
    ratios, left_out = compare_all(job, write_programs(tmp_path / "bin"), say)
    assert left_out == []
    assert [(ratio.name, ratio.against, ratio.unit) for ratio in ratios] == [
        ("cold_first_token", "llama-mtmd-cli", "s"),
        ("cold_whole", "llama-mtmd-cli", "s"),
        ("prefill", "llama-bench", "ms/token"),
        ("decode", "llama-bench", "ms/token"),
        ("second_question", "llama-server", "s"),
        ("together_8", "llama-server", "s"),
    ]
    assert [ratio.theirs for ratio in ratios[2:4]] == [4.0, 40.0]
    assert all(ratio.n == 2 and 0 < ratio.min <= ratio.ratio <= ratio.max for ratio in ratios)


@posix
def test_programs_that_are_missing_or_fail_are_left_out(job: BenchJob, tmp_path: Path) -> None:
    folder = write_programs(tmp_path / "bin", "llama-bench", "llama-server")
    (folder / "llama-server").write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    ratios, left_out = compare_all(job, folder, say)
    assert {ratio.against for ratio in ratios} == {"llama-bench"}
    assert left_out[0] == f"cold: no llama-mtmd-cli in {folder}"
    assert [reason.partition(":")[0] for reason in left_out] == ["cold", "second question", "8 questions"]


def test_no_program(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no llama-bench in"):
        find_program(tmp_path, "llama-bench")


# -- plots


@pytest.fixture
def report() -> Report:
    results = [Measurement.of("decode_1", "tokens/s", [25.0, 26.0]), Measurement.of("encode_image", "ms", [3200.0])]
    return Report(machine={"cpu": "a CPU"}, model={"name": "demo"}, settings={"n_threads": 2}, results=results)


def test_a_plot_is_an_image(report: Report, tmp_path: Path) -> None:
    save_plot(report, tmp_path / "speeds.png")
    assert load(tmp_path / "speeds.png").width > 400
    save_plot(report, tmp_path / "speeds.svg")
    assert "<svg" in (tmp_path / "speeds.svg").read_text()


def test_a_plot_that_cannot_be_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        check_target(tmp_path / "speeds.txt")
    with pytest.raises(UsageError, match="no such folder"):
        check_target(tmp_path / "nowhere" / "speeds.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert importlib.util.find_spec("matplotlib") is None
    with pytest.raises(MissingExtra) as caught:
        check_target(tmp_path / "speeds.png")
    assert caught.value.hint == "pip install 'ggufvlm[plot]'"
