"""LLaVA's images come out right from a llama.cpp that computes them wrongly (tests/data/llava)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ggufvlm import VLM, Answer
from ggufvlm.cli.models import show
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal.console import show_stats
from ggufvlm.engine.request import ImagePart
from ggufvlm.families import ChatHandler, ModelFacts, PlainHandler
from ggufvlm.gguf.writer import encode_value
from ggufvlm.llama.probe import library_fingerprint
from ggufvlm.media import ImagePlan
from ggufvlm.models.pairing import check_pair
from ggufvlm.projectors import llava_probe
from ggufvlm.projectors.llava_probe import ProbeVerdict
from ggufvlm.projectors.repair import find_repair
from ggufvlm.tools import doctor
from tests.support.llava_files import DATA, MMPROJ, MODEL, changed, differences, load_llava, noise, rows, without_type
from tests.support.scenes import Block, Scene

NEEDED, BLURRED = 98, 70


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLM]:
    with load_llava(tmp_path_factory.mktemp("cache")) as vlm:
        yield vlm


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache folder of this test, as clean_environment sets it."""
    return tmp_path / "cache"


def test_reference_answers_are_reproduced(llava: VLM) -> None:
    different = differences(llava)
    assert len(rows()) == 100
    assert 100 - len(different) >= NEEDED, "\n".join(different)


def test_without_the_repair_answers_are_blurred(cache: Path) -> None:
    with load_llava(cache, GGUFVLM_NO_REPAIR="1") as vlm:
        assert 100 - len(differences(vlm)) < BLURRED
        assert vlm.describe(DATA / rows(1)[0]["image"]).repair is None
    assert not (cache / "projectors").exists()


def test_the_answer_says_what_was_repaired(llava: VLM) -> None:
    answer = llava.describe(DATA / rows(1)[0]["image"])
    assert answer.repair == answer.to_dict()["repair"] == "llava: class token"


def test_other_families_are_left_alone(demo: VLM, data: Path) -> None:
    assert demo.describe(data / "qwen2vl" / "images" / "000.png", max_tokens=1).repair is None
    report = check_pair(demo.files.model, demo.files.mmproj)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llava_probe, "examine_library", None)  # not asked
        assert not find_repair(report, demo.files.model)


def test_a_library_without_the_defect_gets_files_and_images_as_they_are(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setitem(llava_probe._verdicts, library_fingerprint(), ProbeVerdict("right", skips_last_block=False))
    with load_llava(cache) as vlm:
        assert vlm.handler.image_plan(224, 112).roll_patch is None
        assert vlm.describe(noise(20, 20), max_tokens=1).repair is None
    assert not (cache / "projectors").exists()


def test_a_second_question_encodes_nothing(llava: VLM) -> None:
    row = next(row for row in rows() if row["question"] == "What is on the right?")
    image = {"type": "image", "path": str(DATA / row["image"])}
    first = [{"role": "user", "content": [image, {"type": "text", "text": "Describe this image."}]}]
    one = llava.stream(first, temperature=0.0).answer
    second = [*first, {"role": "assistant", "content": one.text}, {"role": "user", "content": row["question"]}]
    two: Answer = llava.stream(second, temperature=0.0).answer
    assert two.usage.n_images_encoded == 0
    assert two.usage.n_cached > two.images[0].n_tokens
    assert two.text == row["reference"]


# -- images that are not square


@pytest.mark.parametrize("colors", [("red", "green"), ("green", "white"), ("white", "blue")])
def test_sides_are_kept_in_a_wide_image(llava: VLM, colors: tuple[str, str]) -> None:
    for left, right in (colors, colors[::-1]):
        boxes = ((0.1, 0.3, 0.35, 0.8), (0.62, 0.3, 0.87, 0.8))
        blocks = tuple(Block(color, "square", box) for color, box in zip((left, right), boxes, strict=True))
        image = Scene("black", blocks).draw(224, 112)
        assert llava.describe(image, "What is on the left?", temperature=0.0).text == f"The {left} square."
        assert llava.describe(image, "What is on the right?", temperature=0.0).text == f"The {right} square."


def as_llava_does(image: PIL.Image.Image) -> np.ndarray:
    """LLaVA's expand2square and CLIPImageProcessor's resizing, then patches in the repair's order."""
    color = tuple(int(mean * 255) for mean in (0.48145466, 0.4578275, 0.40821073))
    width, height = image.size
    if width > height:
        square = PIL.Image.new("RGB", (width, width), color)
        square.paste(image, (0, (width - height) // 2))
    else:
        square = PIL.Image.new("RGB", (height, height), color)
        square.paste(image, ((height - width) // 2, 0))
    pixels = np.asarray(square.resize((112, 112), PIL.Image.Resampling.BICUBIC))
    patches = [pixels[14 * y : 14 * y + 14, 14 * x : 14 * x + 14] for y in range(8) for x in range(8)]
    late = [patches[-1], *patches[:-1]]
    return np.vstack([np.hstack(late[8 * y : 8 * y + 8]) for y in range(8)])


@pytest.mark.parametrize("size", [(224, 112), (113, 200), (112, 112), (37, 5), (301, 300)])
def test_images_are_prepared_as_the_reference_does_it(llava: VLM, size: tuple[int, int]) -> None:
    image = noise(*size)
    request = llava.build_request([{"role": "user", "content": [{"type": "image", "image": image}]}])
    (part,) = [part for part in request.parts if isinstance(part, ImagePart)]
    assert (part.width, part.height) == (112, 112)
    pixels = np.frombuffer(part.pixels(), np.uint8).reshape(112, 112, 3)
    np.testing.assert_array_equal(pixels, as_llava_does(image))


def test_without_a_template_images_are_prepared_all_the_same() -> None:
    family = ChatHandler(ModelFacts(square=112, pad_color=(1, 2, 3), rolls_patches=True))
    assert PlainHandler(family).image_plan(5, 6) == family.image_plan(5, 6)
    assert family.image_plan(5, 6) == ImagePlan(width=112, height=112, pad_color=(1, 2, 3), roll_patch=14)


# -- other files of the family


def test_a_projector_of_2023(tmp_path: Path, cache: Path) -> None:
    untyped = without_type(tmp_path / "mmproj-tiny-llava-F16.gguf")
    with load_llava(cache, untyped) as vlm:
        assert not differences(vlm, 20)
        assert vlm.describe(DATA / rows(1)[0]["image"]).repair == "llava: class token"
    shutil.copy(MODEL, tmp_path / MODEL.name)
    with VLM.load(tmp_path / MODEL.name) as vlm:  # found beside its model
        assert not differences(vlm, 3)


def test_a_projector_of_2023_gets_its_type_without_the_repair_too(tmp_path: Path, cache: Path) -> None:
    untyped = without_type(tmp_path / "p.gguf")
    with load_llava(cache, untyped, GGUFVLM_NO_REPAIR="1") as vlm:
        assert vlm.describe(noise(20, 20), max_tokens=1).repair == "projector type mlp"


def test_llava_1_6_sees_the_whole_image_as_one_tile(tmp_path: Path, cache: Path) -> None:
    grid = encode_value("[int32]", [112, 224, 224, 112, 224, 224])
    tiled = changed(tmp_path / "p.gguf", lambda pairs: pairs.update({"clip.vision.image_grid_pinpoints": grid}))
    with load_llava(cache, tiled) as vlm:
        assert not differences(vlm, 20)
        answer = vlm.describe(noise(300, 200), max_tokens=1)
        assert answer.repair == "llava: class token, one tile"
        assert answer.images[0].n_tokens == 64
        assert vlm.handler.image_plan(300, 200) == ImagePlan(width=112, height=112, roll_patch=14)
    with load_llava(cache, tiled, GGUFVLM_NO_REPAIR="1") as vlm:
        assert vlm.handler.image_plan(300, 200) == ImagePlan(width=300, height=200)


# -- what the user is told


def test_doctor_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor._llava()
    assert (finding.topic, finding.status) == ("LLaVA", "ok")
    assert finding.text == "this llama.cpp misplaces the class token of its images (#25814), which is repaired"
    monkeypatch.setenv("GGUFVLM_NO_REPAIR", "1")
    finding = doctor._llava()
    assert (finding.status, finding.remedy) == ("warn", "unset GGUFVLM_NO_REPAIR")
    monkeypatch.setitem(llava_probe._verdicts, library_fingerprint(), ProbeVerdict("unknown", skips_last_block=False))
    finding = doctor._llava()
    assert (finding.status, finding.remedy) == ("warn", "pip install -U ggufvlm")


def test_show_tells() -> None:
    facts = show.gather(str(MODEL), MMPROJ)
    assert facts["repair"] == "llava: class token"
    assert "repaired" in show._text(facts)
    facts = show.gather("demo")
    assert facts["repair"] is None
    assert "repaired" not in show._text(facts)


def test_stats_tell(llava: VLM, capsys: pytest.CaptureFixture[str]) -> None:
    show_stats(llava.describe(noise(20, 20), max_tokens=1), OutputOptions())
    assert "tokens, repaired (llava: class token)\n" in capsys.readouterr().err
