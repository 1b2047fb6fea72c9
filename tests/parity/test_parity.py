"""The whole path from a question to tokens against Transformers, for a small random model of each family.

``fitted`` images have the size that the reference's processor leaves alone, so they compare the computation; the
others compare the resizing as well. ``python -m tests.parity.compare`` prints the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.families import smolvlm
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, read_pairs, write_gguf
from tests.parity.cases import DATA, N_ANSWER, Case, cases
from tests.parity.compare import cosines, equal_tokens, logit_difference, stored
from tests.parity.ours import ask, load
from tests.parity.sizes import SIZES

LEAST_COSINE = 0.999
MOST_LOGIT_DIFFERENCE = 0.2  # in standard deviations; a wrong image or prompt gives 0.5 to 5
# thumbnails, which libmtmd makes of the image that we have stretched over the grid of its tiles
LEAST_THUMBNAIL_COSINE = {("lfm2_vl", "odd-1100x560"): 0.95, ("internvl", "odd-300x140"): 0.99}
ROWS_OF_SQUARE = {"llava": 64}  # the repair of the class token costs the last patch of each square

ALL = [pytest.param(family, case, id=f"{family}-{case.name}") for family in SIZES for case in cases(SIZES[family])]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, VLM]]:
    """Each family is loaded once; cells of one case may serve the next, as they do for a user."""
    cache: Path = tmp_path_factory.mktemp("cache")
    loaded: dict[str, VLM] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GGUFVLM_CACHE_DIR", str(cache))
        for family in SIZES:
            loaded[family] = load(family)
    yield loaded
    for vlm in loaded.values():
        vlm.close()


@pytest.mark.parametrize(("family", "case"), ALL)
def test_the_reference_is_reproduced(models: dict[str, VLM], family: str, case: Case) -> None:
    reference, ours = stored(family, case), ask(models[family], case)
    np.testing.assert_array_equal(ours.tokens, reference.tokens)
    assert logit_difference(ours.logits, reference.logits) <= MOST_LOGIT_DIFFERENCE
    assert equal_tokens(ours.answer, reference.answer) == N_ANSWER


@pytest.mark.parametrize(("family", "case"), [p for p in ALL if p.values[1].keeps_embeddings])
def test_embeddings_are_the_reference_s(family: str, case: Case) -> None:
    reference = stored(family, case)
    with load(family) as vlm:  # afresh, so that nothing comes from a cache
        ours = ask(vlm, case)
    assert ours.embeddings.shape == reference.embeddings.shape
    rows = cosines(ours.embeddings, reference.embeddings)
    if family in ROWS_OF_SQUARE:
        rows = rows.reshape(-1, ROWS_OF_SQUARE[family])[:, :-1]
    assert rows.min() >= LEAST_THUMBNAIL_COSINE.get((family, case.name), LEAST_COSINE)
    assert rows.mean() >= LEAST_COSINE


def test_a_second_turn_encodes_nothing(models: dict[str, VLM]) -> None:
    for family, vlm in models.items():
        fitted, *_, turn = cases(SIZES[family])
        ask(vlm, fitted)
        assert len(ask(vlm, turn).embeddings) == 0, family


@pytest.mark.parametrize(("family", "text"), [("llava", "llava: class token"), ("internvl", "internvl: positions")])
def test_without_the_repair_the_reference_is_far(monkeypatch: pytest.MonkeyPatch, family: str, text: str) -> None:
    case = cases(SIZES[family])[0]
    reference = stored(family, case)
    with load(family) as vlm:
        assert vlm.stream(case.messages, max_tokens=1).answer.repair == text
    monkeypatch.setenv("GGUFVLM_NO_REPAIR", "1")
    with load(family) as vlm:
        ours = ask(vlm, case)
        assert vlm.stream(case.messages, max_tokens=1).answer.repair is None
    assert cosines(ours.embeddings, reference.embeddings).mean() < 0.7
    assert equal_tokens(ours.answer, reference.answer) < N_ANSWER


@pytest.mark.parametrize("family", ["pixtral", "qwen2_vl"])
def test_numbers_that_are_none_do_not_reach_the_model(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """What llama.cpp computes with memory that it has not written depends on what lay there."""
    case = cases(SIZES[family])[0]
    reference = stored(family, case)
    as_array = np.ctypeslib.as_array

    def broken(pointer: object, shape: tuple[int, ...]) -> np.ndarray:
        rows = as_array(pointer, shape=shape).copy()
        rows[8] = np.nan
        return rows

    monkeypatch.setattr(np.ctypeslib, "as_array", broken)
    with load(family) as vlm:
        if family == "pixtral":
            rows = cosines(ask(vlm, case).embeddings, reference.embeddings)
            assert rows[8] >= LEAST_COSINE  # [IMG_BREAK], after a line of eight patches
        else:
            with pytest.raises(EngineError, match="numbers that are none"):
                ask(vlm, case)


def changed(family: str, target: Path, *dropped: str) -> VLM:
    """A family whose projector lacks these keys."""
    source = DATA / family / "mmproj.gguf"
    header = read_header(source)
    pairs = {key: value for key, value in read_pairs(source, header).items() if key not in dropped}
    with target.open("wb") as file:
        write_gguf(file, pairs, copied(source, header))
    return VLM.load(DATA / family / "model.gguf", target, config=EngineConfig(use_cache=False))


@pytest.mark.parametrize("case", cases(SIZES["smolvlm"]), ids=lambda case: case.name)
def test_smolvlm_from_a_file_that_names_no_longest_edge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: Case
) -> None:
    monkeypatch.setattr(smolvlm, "_TILES_A_SIDE", 2)  # the small model's, where published ones have 4
    reference = stored("smolvlm", case)
    with changed("smolvlm", tmp_path / "p.gguf", "clip.vision.preproc_image_size") as vlm:
        ours = ask(vlm, case)
    np.testing.assert_array_equal(ours.tokens, reference.tokens)
    if case.keeps_embeddings:
        rows = cosines(ours.embeddings, reference.embeddings)  # libmtmd makes the thumbnails by another filter
        assert rows.min() >= 0.99
        assert rows.mean() >= LEAST_COSINE


def test_pixtral_from_a_file_that_names_no_merge_size(tmp_path: Path) -> None:
    case = next(case for case in cases(SIZES["pixtral"]) if case.name == "odd-131x97")
    with changed("pixtral", tmp_path / "p.gguf", "clip.vision.spatial_merge_size") as vlm:
        ours, reference = ask(vlm, case), stored("pixtral", case)
    np.testing.assert_array_equal(ours.tokens, reference.tokens)
    assert cosines(ours.embeddings, reference.embeddings).min() >= LEAST_COSINE
