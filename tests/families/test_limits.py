"""How many tokens an image takes under a limit: what the handlers say, and what libmtmd then makes of it."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import ContextOverflow, ImageError
from ggufvlm.families import ChatHandler
from ggufvlm.families.facts import make_handler
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, encode_value, read_pairs, write_gguf
from ggufvlm.llama.projector import Projector
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.pairing import check_pair
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.request import question_about
from tests.parity.cases import DATA
from tests.parity.sizes import SIZES
from tests.support.program import run_program

FILES = {
    name: ModelFiles(name=name, model=DATA / name / "model.gguf", mmproj=DATA / name / "mmproj.gguf") for name in SIZES
}
FILES["demo"] = find_model("demo")
LIMITS = (1, 15, 16, 40, 63, 64, 100, 140, 192, 256, 300, 512, 777, 1024, 1790, 3000, 10**9)
SHAPES = ((100, 100), (1200, 800), (800, 1201), (3000, 2000), (640, 128), (90, 450))
EXTREME = ((1, 1), (1, 1000), (1000, 1), (1, 40), (20000, 10), (10, 20000), (3, 9000))
pytestmark = pytest.mark.filterwarnings("ignore:--image-max-tokens:UserWarning")  # many limits here have no effect
SLOW = pytest.mark.slow
sides = st.floats(0, 4.4).map(lambda power: round(10**power))


@functools.cache
def handler(family: str, limit: int | None = None, least: int | None = None) -> ChatHandler:
    files = FILES[family]
    config = EngineConfig(image_max_tokens=limit, image_min_tokens=least)
    return make_handler(files, check_pair(files.model, files.mmproj), config)


def n_tokens(family: str, size: tuple[int, int], limit: int | None) -> int:
    n = handler(family, limit).n_tokens(*size)
    assert n is not None
    return n


@pytest.mark.parametrize("family", FILES)
@settings(max_examples=60)
@given(width=sides, height=sides)
def test_no_image_takes_more_than_its_limit_and_none_less_for_more(family: str, width: int, height: int) -> None:
    try:
        usual = n_tokens(family, (width, height), None)
    except ImageError:
        assume(False)
    bounds = handler(family).token_bounds
    counts = [n_tokens(family, (width, height), limit) for limit in LIMITS]
    if bounds is None:
        assert counts == [usual] * len(LIMITS)
        return
    assert all(n <= max(limit, bounds[0]) for n, limit in zip(counts, LIMITS, strict=True))
    assert counts == sorted(counts)
    assert counts[-1] <= bounds[1]


def really(vlm: VLM, size: tuple[int, int]) -> int:
    """What libmtmd makes of an image, without the texts between its tiles."""
    plan = vlm.handler.image_plan(*size)
    projector = vlm._worker.engine._runner.projector
    layout: Projector = projector._loaded()
    return sum(piece.n_cells for piece in layout.layout(plan.width, plan.height).pieces if hasattr(piece, "n_cells"))


@pytest.mark.parametrize("limit", [None, 100, 300, *(pytest.param(n, marks=SLOW) for n in (1, 63, 1024, 10**9))])
@pytest.mark.parametrize("family", FILES)
def test_libmtmd_makes_as_many_tokens_as_the_handler_says(family: str, limit: int | None) -> None:
    files = FILES[family]
    config = EngineConfig(use_cache=False, image_max_tokens=limit)
    with VLM.load(files.model, files.mmproj, config=config) as vlm:
        for size in (*SHAPES, *EXTREME):
            try:
                n = vlm.handler.n_tokens(*size)
            except ImageError:  # Qwen's: its reference refuses strips
                assert size in EXTREME
                continue
            assert really(vlm, size) == n, size


@pytest.mark.parametrize(
    "tiles", [1, 5, 6, 12, *(pytest.param(n, marks=SLOW) for n in (2, 3, 4, *range(7, 18)) if n != 12)]
)
def test_grids_of_smolvlm_as_large_as_the_published_ones(tmp_path: Path, tiles: int) -> None:
    source = FILES["smolvlm"]
    header = read_header(source.mmproj)
    pairs = read_pairs(source.mmproj, header) | {"clip.vision.preproc_image_size": encode_value("uint32", 4 * 64)}
    with (tmp_path / "p.gguf").open("wb") as file:
        write_gguf(file, pairs, copied(source.mmproj, header))
    config = EngineConfig(use_cache=False, image_max_tokens=16 * tiles)
    with VLM.load(source.model, tmp_path / "p.gguf", config=config) as vlm:
        for size in (*SHAPES, *EXTREME):
            n = vlm.handler.n_tokens(*size)
            assert n is not None
            assert really(vlm, size) == n <= 16 * max(tiles, 2), size


@pytest.mark.parametrize("least", [pytest.param(1, marks=SLOW), pytest.param(300, marks=SLOW), 10**6])
@pytest.mark.parametrize("family", FILES)
def test_a_least_number_of_tokens_beyond_the_family_s_bounds_loads(family: str, least: int) -> None:
    files = FILES[family]
    config = EngineConfig(use_cache=False, image_min_tokens=least)
    with VLM.load(files.model, files.mmproj, config=config) as vlm:
        assert really(vlm, (300, 200)) == vlm.handler.n_tokens(300, 200)


@pytest.mark.parametrize("limit", [None, pytest.param(100, marks=SLOW)])
@pytest.mark.parametrize("family", FILES)
def test_an_image_of_any_shape_is_seen_or_refused_by_name(family: str, limit: int | None) -> None:
    files = FILES[family]
    config = EngineConfig(use_cache=False, image_max_tokens=limit)
    with VLM.load(files.model, files.mmproj, config=config) as vlm:
        for width, height in ((1, 1), (1, 1000), (1000, 1), (20000, 10)):
            image = PIL.Image.new("RGB", (width, height), "red")
            try:
                assert vlm.describe(image, "Which color?", max_tokens=1).usage.n_images_encoded
            except ImageError as error:
                assert f"{width}x{height} is too narrow" in str(error)  # noqa: PT017 - the others are seen


@pytest.mark.parametrize(
    ("family", "limit", "said"),
    [
        (
            "gemma3",
            300,
            "--image-max-tokens has no effect on the images of Gemma 3",
        ),
        ("llava", 1, "--image-max-tokens has no effect on the images of LLaVA"),
        ("lfm2_vl", 63, "--image-max-tokens 63: with LFM2-VL an image takes at least 64 tokens"),
        ("internvl", 63, "--image-max-tokens 63: with InternVL an image takes at least 64 tokens"),
        ("smolvlm", 31, "--image-max-tokens 31: with SmolVLM an image takes at least 32 tokens"),
        ("smolvlm", 32, None),
        ("internvl", 64, None),
        ("demo", 1, None),
    ],
)
def test_a_limit_that_cannot_be_kept_is_told(family: str, limit: int, said: str | None) -> None:
    warnings = [text for text in handler(family, limit).warnings if "template" not in text]
    assert warnings == ([said] if said else [])


def test_the_program_tells_of_a_limit_without_effect_once(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (90, 60), "red").save(tmp_path / "a.png")
    files = FILES["gemma3"]
    model = ("-m", str(files.model), "--mmproj", str(files.mmproj), "--image-max-tokens", "9", "-n", "2")
    done = run_program("describe", "a.png", *model, folder=tmp_path)
    assert done.stderr.decode().count("--image-max-tokens has no effect") == 1
    assert done.returncode == 0


def _overflow(files: ModelFiles, **settings: int) -> ContextOverflow | None:
    """What comes of two images in a small context."""
    images = [PIL.Image.new("RGB", size, "red") for size in ((1200, 800), (700, 900))]
    with VLM.load(files.model, files.mmproj, config=EngineConfig(use_cache=False, n_ctx=512, **settings)) as vlm:
        try:
            vlm.submit(vlm.build_request(question_about(images, "Which color?", None), max_tokens=1)).abort()
        except ContextOverflow as error:
            return error
    return None


@pytest.mark.parametrize("family", FILES)
def test_the_hint_of_an_overflow_names_a_limit_only_where_it_helps(family: str) -> None:
    error = _overflow(FILES[family])
    bounds = handler(family).token_bounds
    if error is None:
        assert sum(n_tokens(family, size, None) for size in ((1200, 800), (700, 900))) < 512
        return
    limit = re.search(r"--image-max-tokens (\d+)", error.hint or "")
    assert (limit is None) == (bounds is None)
    if limit is not None:
        assert _overflow(FILES[family], image_max_tokens=int(limit[1])) is None


def test_no_limit_is_hinted_at_that_would_not_suffice() -> None:
    files = FILES["internvl"]  # at least 64 tokens an image, and nothing below
    with VLM.load(files.model, files.mmproj, config=EngineConfig(use_cache=False, n_ctx=256)) as vlm:
        images = [PIL.Image.new("RGB", (300, 300 + n)) for n in range(5)]
        request = vlm.build_request(question_about(images, "Which color?", None), max_tokens=1)
        with pytest.raises(ContextOverflow) as refused:
            vlm.submit(request)
    assert "--image-max-tokens" not in (refused.value.hint or "")
    assert "--ctx-size" in (refused.value.hint or "")
