"""What a person does in the cells of a notebook."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import weakref
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, TypeAdapter, field_validator

from ggufvlm import VLM, Chat, Constraint, EngineError, ImageError, Question, UsageError, pipeline
from tests.support.scenes import Scene


class Blocks(BaseModel):
    n: Literal[1, 2, 3]
    colour: Literal["red", "blue", "green"]


CLOSED = {**Blocks.model_json_schema(), "additionalProperties": False}


class Never(Blocks):
    @field_validator("n")
    @classmethod
    def refuse(cls, _value: int) -> int:
        raise ValueError("not that many")


@pytest.fixture
def image(tmp_path: Path, scene: Scene) -> str:
    path = tmp_path / "shots" / "a.png"
    path.parent.mkdir()
    scene.draw(196, 140).save(path)
    return str(path)


def test_a_schema_gives_a_value(demo: VLM, image: str) -> None:
    answer = demo.describe(image, "How many blocks are there?", schema=Blocks)
    assert isinstance(answer.value, Blocks)
    assert json.loads(answer.text) == answer.value.model_dump()
    assert "value" not in answer.to_dict()
    plain = demo.describe(image, "How many blocks are there?", schema=CLOSED)
    assert plain.value == answer.value.model_dump()
    assert demo.describe(image, "How many blocks are there?", schema=TypeAdapter(Blocks)).value == answer.value
    assert demo.describe(image).value is None


def test_a_schema_that_is_not_kept_is_an_error(demo: VLM, image: str) -> None:
    with pytest.raises(EngineError, match=r"does not fit Never: .*not that many"):
        demo.describe(image, "How many?", schema=Never)
    with pytest.raises(EngineError, match="length"):
        demo.describe(image, "How many?", schema=Blocks, max_tokens=2)
    with pytest.raises(UsageError, match="which of them"):
        demo.describe(image, "How many?", schema=Blocks, constraint=Constraint.from_schema(Blocks))
    with demo.stream([{"role": "user", "content": "How many?"}], schema=Blocks) as stream:
        next(stream)  # who leaves early gets what was said, and no error
    assert stream.answer.finish_reason in ("abort", "stop")


@pytest.mark.parametrize("given", [Blocks, {"type": "object"}])
def test_a_schema_as_constraint_says_what_to_do(demo: VLM, image: str, given: object) -> None:
    with pytest.raises(UsageError, match="constraint takes a Constraint, not") as caught:
        demo.describe(image, constraint=given)  # type: ignore[arg-type]
    name = "Blocks" if given is Blocks else "..."
    assert f"schema={name}" in str(caught.value.hint)
    assert f"Constraint.from_schema({name})" in str(caught.value.hint)


def test_an_answer_behaves_as_its_text(demo: VLM, image: str, scene: Scene) -> None:
    answer = demo.describe(image)
    assert str(answer) == scene.caption
    assert scene.caption[2:6] in answer
    assert "elephant" not in answer
    assert "Seen: " + answer + "." == f"Seen: {scene.caption}."
    assert answer + answer == scene.caption * 2
    assert answer._repr_markdown_() == scene.caption
    with pytest.raises(TypeError):
        answer + 1  # type: ignore[operator]


def test_a_chat_takes_one_image_as_it_is(demo: VLM, image: str, scene: Scene) -> None:
    chat = Chat(demo)
    assert str(chat.send("Describe this image.", image)) == scene.caption
    assert len(chat.images) == 1


def test_folders_and_patterns_are_images(demo: VLM, image: str, scene: Scene, tmp_path: Path) -> None:
    shutil.copy(image, tmp_path / "shots" / "b.png")
    both = f"Image 1: {scene.caption} Image 2: {scene.caption}"
    for images in (tmp_path / "shots", f"{tmp_path}/shots/", f"{tmp_path}/shots/*.png", [Path(tmp_path, "shots")]):
        assert demo.describe(images, "Describe each image.").text == both
    (result,) = demo.map([Question(images=tmp_path / "shots", prompt="Describe each image.")])
    assert result.answer is not None
    assert result.answer.text == both
    assert str(Chat(demo).send("Describe each image.", f"{tmp_path}/shots")) == both
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty: no images there"):
        demo.describe(tmp_path / "empty")


def test_a_model_that_is_forgotten_is_freed(image: str) -> None:
    def engines() -> int:
        return sum(thread.name == "ggufvlm-engine" for thread in threading.enumerate())

    before = engines()
    gc.disable()  # it is no matter of luck
    try:
        for _ in range(3):
            vlm = VLM.load("demo")
            vlm.prepare([{"role": "user", "content": [{"type": "image", "path": image}]}])
            vlm.describe(image, max_tokens=2)
            assert engines() == before + 1
        pipe = pipeline(model="demo")
        forgotten = weakref.ref(vlm), weakref.ref(pipe.model)
        del vlm, pipe
        assert [ref() for ref in forgotten] == [None, None]
        assert engines() == before
        pieces = VLM.load("demo").stream([{"role": "user", "content": "Hello"}], max_tokens=3)
        assert "".join(pieces) == pieces.answer.text  # who holds an answer holds its model
    finally:
        gc.enable()
