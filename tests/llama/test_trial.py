"""A pair on which llama.cpp ends its process is told in one line, by a process that lives on."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm import VLM
from ggufvlm.cache.folder import cache_dir
from ggufvlm.errors import ModelError
from ggufvlm.llama.cancellation import CancelToken, LoadAborted
from ggufvlm.llama.trial import NO_TRIAL_VARIABLE, Pair, try_once
from ggufvlm.models.known_sound import are_published
from ggufvlm.models.resolve import find_model
from tests.support.loads import outcomes
from tests.support.lying_files import flipped, lies

PARITY = Path(__file__).parents[1] / "data" / "parity"
FAMILIES = sorted(path.parent.name for path in PARITY.glob("*/model.gguf"))
IMAGE = PARITY / "images" / "40x33.png"
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="forks a process for each file")


@pytest.fixture(autouse=True)
def tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are tried, as they are for users."""
    monkeypatch.delenv(NO_TRIAL_VARIABLE)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A projector whose heads are two numbers wide, where positions turn four at a time: no rule knows of that."""
    told = tmp_path / "told.gguf"
    what = "clip.vision.attention.head_count = 16"
    found = lies(PARITY / "qwen2_5_vl" / "mmproj.gguf", whole_numbers=(16,))
    told.write_bytes(next(lie for lie in found if lie.what == what).data())
    return told


def pair(family: str, mmproj: Path | None = None) -> Pair:
    folder = PARITY / family
    return Pair(folder / "model.gguf", mmproj or folder / "mmproj.gguf", 1)


def notes() -> list[Path]:
    return list(cache_dir().glob("notes/tried-*"))


def test_a_crash_is_one_line(bad: Path) -> None:
    with pytest.raises(ModelError) as caught:
        VLM.load(str(pair("qwen2_5_vl").model), str(bad))
    said = str(caught.value)
    assert said.startswith("model.gguf with told.gguf: llama.cpp crashes on this pair: ")
    assert "GGML_ASSERT(n_dims % 2 == 0) failed" in said
    assert "\n" not in said
    assert NO_TRIAL_VARIABLE in (caught.value.hint or "")
    assert notes() == []


@pytest.mark.parametrize("family", FAMILIES)
def test_an_honest_pair_is_tried_once(family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    try_once(pair(family), CancelToken())
    assert len(notes()) == 1
    monkeypatch.setattr(sys, "executable", "/bin/false")
    try_once(pair(family), CancelToken())
    copy = Path(shutil.copy(pair(family).mmproj, tmp_path))
    with pytest.raises(ModelError, match="exit code 1"):
        try_once(pair(family, copy), CancelToken())


def test_what_llama_cpp_refuses_in_words_is_left_to_it() -> None:
    try_once(pair("gemma3", PARITY / "gemma3" / "model.gguf"), CancelToken())


def test_without_a_process_nothing_is_tried(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(bad.parent / "none"))
    try_once(pair("qwen2_5_vl", bad), CancelToken())
    assert notes() == []


def test_it_can_be_stopped() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(LoadAborted):
        try_once(pair("gemma3"), cancel)


def test_only_files_that_are_known_need_none(tmp_path: Path) -> None:
    built_in = find_model("demo")
    assert are_published(built_in)
    model, mmproj = (Path(shutil.copy(path, tmp_path)) for path in (built_in.model, built_in.mmproj))
    copied = find_model(str(model), mmproj)
    assert copied.spec is not None
    assert not are_published(copied)


def crashed(families: list[str], kind: str, n_lies: int, n_flips: int, folder: Path) -> list[str]:
    """What ended a process or took too long, although every file was tried first, of files that no rule looks at."""
    told, asked = folder / "told.gguf", []

    def pairs() -> Iterator[tuple[Path, Path]]:
        for family in families:
            path = PARITY / family / f"{kind}.gguf"
            sample = random.Random(family).sample(list(lies(path)), n_lies)
            files = [(lie.what, lie.data()) for lie in sample]
            files += [(f"flipped {number}", flipped(path, number)) for number in range(n_flips)]
            for what, data in files:
                told.write_bytes(data)
                asked.append(f"{family} {what}")
                paths = {name: PARITY / family / f"{name}.gguf" for name in ("model", "mmproj")} | {kind: told}
                yield paths["model"], paths["mmproj"]

    ends = [end.partition(":")[0] for end in outcomes(pairs(), IMAGE, knows_rules=False)]
    assert "answered" in ends
    return [f"{what}: {end}" for what, end in zip(asked, ends, strict=True) if end not in ("answered", "refused")]


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "mmproj"])
def test_no_file_crashes_that_was_tried_even_without_a_rule(kind: str, tmp_path: Path) -> None:
    assert crashed(FAMILIES, kind, n_lies=20, n_flips=4, folder=tmp_path) == []
