"""``--dry-run``: predictions from headers, against what the model then does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig, SamplingParams
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.journal.identity import sampling_of
from ggufvlm.batch.run.preflight import Preflight, TokenCounter, preflight, seconds_per_row
from ggufvlm.batch.run.session import EngineSettings
from ggufvlm.families import Message
from ggufvlm.media import Image
from ggufvlm.media.decoding.headers import header_size
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.resolve import find_model
from tests.batch.conftest import Runner, draw_scenes, scene


def look(
    *arguments: str, config: EngineConfig | None = None, free: int | None = None, files: ModelFiles | None = None
) -> Preflight:
    files = files or find_model("demo")
    engine = EngineSettings(files=files, config=config or EngineConfig(n_slots=4), sampling=sampling_of(files, {}))
    return preflight(Inputs(arguments), parse("Describe this image."), engine, free=free)


def test_tokens_are_those_the_model_will_see(runner: Runner, folder: Path) -> None:
    (folder / "d").mkdir()
    sizes = [(196, 140), (140, 196), (30, 30), (400, 90), (812, 620)]
    for number, (width, height) in enumerate(sizes):
        scene(number).draw(width, height).save(folder / "d" / f"{number}.png")
    found = look("d")
    seen = [runner.vlm.describe(path, "Hi", max_tokens=1).images[0].n_tokens for path in sorted(Path("d").iterdir())]
    assert (found.count, found.image_tokens, found.largest) == (5, sum(seen), max(seen))


FAMILIES = ("gemma3", "internvl", "lfm2_vl", "llava", "pixtral", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "smolvlm")


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_each_family_are_those_of_llama_cpp(data: Path, family: str) -> None:
    """Untrained models of the families' shapes: what is told from headers against what libmtmd does."""
    place = data / "parity" / family
    place = place if (place / "model.gguf").exists() else data / family
    found = sorted(place.glob("*.gguf"))
    files = ModelFiles(name=family, model=found[1], mmproj=found[0])
    engine = EngineSettings(files=files, config=EngineConfig(), sampling=SamplingParams())
    counter = TokenCounter(engine)
    assert counter.can_tell
    with VLM(files, EngineConfig(use_cache=False)) as vlm:
        for width, height in ((64, 64), (196, 140), (500, 300), (640, 480), (300, 1200), (2000, 1000), (1024, 1024)):
            image = Image.from_rgb(width, height, bytes(3 * width * height), "black")
            seen = vlm.measure([Message("user", (image, "Hi"))]).n_images
            assert (counter.tokens(width, height),) == seen, (width, height)


def test_what_will_fail_is_named_before_it_does(folder: Path) -> None:
    draw_scenes(folder / "d", 2)
    (folder / "d" / "no.png").write_bytes(b"nothing")
    (folder / "d" / "huge.bmp").symlink_to("gone.bmp")
    found = look("d")
    assert (found.count, found.n_unreadable, len(found.unreadable)) == (4, 2, 2)
    assert any("2 inputs" in text for text in found.advice)


def test_images_that_exceed_the_context(folder: Path) -> None:
    (folder / "d").mkdir()
    scene(0).draw(60, 60).save(folder / "d" / "small.png")
    scene(1).draw(900, 900).save(folder / "d" / "big.png")
    found = look("d", config=EngineConfig(n_ctx=70))
    assert (found.n_too_large, found.too_large) == (1, ["d/big.png"])
    (fits,) = re.findall(r"--image-max-tokens (\d+)", " ".join(found.advice))
    assert look("d", config=EngineConfig(n_ctx=70, image_max_tokens=int(fits))).n_too_large == 0


def test_no_advice_is_given_that_the_family_cannot_follow(folder: Path) -> None:
    (folder / "d").mkdir()
    scene(1).draw(900, 900).save(folder / "d" / "big.png")
    gemma = Path(__file__).parents[1] / "data" / "parity" / "gemma3"
    files = ModelFiles(name="gemma3", model=gemma / "model.gguf", mmproj=gemma / "mmproj.gguf")
    found = look("d", files=files, config=EngineConfig(n_ctx=70), free=1)
    assert found.n_too_large == 1
    assert found.advice
    assert not any("--image-max-tokens" in text for text in found.advice)


def test_advice_where_memory_is_short(folder: Path) -> None:
    draw_scenes(folder / "d", 1)
    assert any("--slots 1" in text for text in look("d", free=1 << 20).advice)
    assert look("d", free=1 << 40).advice == []


def test_time_comes_from_the_rows_of_an_earlier_run(runner: Runner, eight: Path) -> None:
    assert seconds_per_row(Path("out.jsonl")) is None
    runner(Inputs([str(eight)]))
    each = seconds_per_row(Path("out.jsonl"))
    assert each is not None
    assert each > 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tif", "avif", "heic"])
def test_header_sizes(folder: Path, suffix: str) -> None:
    from PIL import Image
    from pillow_heif import register_heif_opener

    register_heif_opener()
    Image.new("RGB", (30, 20)).save(f"p.{suffix}")
    assert header_size(Path(f"p.{suffix}")) == (30, 20)


def test_a_header_size_is_upright(folder: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save("p.jpg", exif=exif)
    assert header_size(Path("p.jpg")) == (20, 30)
