"""Code written for Transformers' pipeline, with the import changed (from the Hub's image-text-to-text task page)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm import UsageError, pipeline
from ggufvlm.vlm.transformers_pipeline import ImageTextToTextPipeline
from tests.support.scenes import Scene


@pytest.fixture(scope="module")
def pipe() -> Iterator[ImageTextToTextPipeline]:
    made = pipeline("image-text-to-text", model="demo")
    yield made
    made.model.close()


@pytest.fixture
def image(tmp_path: Path, scene: Scene) -> str:
    path = tmp_path / "scene.png"
    scene.draw(196, 140).save(path)
    return str(path)


def test_messages(pipe: ImageTextToTextPipeline, image: str, scene: Scene) -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": "Describe this image."}],
        }
    ]
    outputs = pipe(text=messages, max_new_tokens=60, return_full_text=False)
    assert outputs[0]["generated_text"] == scene.caption
    full = pipe(text=messages, max_new_tokens=60)
    assert full[0]["generated_text"][-1] == {"role": "assistant", "content": scene.caption}
    assert full[0]["input_text"] == messages


def test_the_assistant_s_words_are_continued(pipe: ImageTextToTextPipeline, image: str, scene: Scene) -> None:
    begun = " ".join(scene.caption.split()[:3])
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": "Describe this image."}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": begun}]},
    ]
    outputs = pipe(text=messages, max_new_tokens=60, return_full_text=False)
    assert begun + outputs[0]["generated_text"] == scene.caption


def test_images_given_apart_and_several_dialogues(pipe: ImageTextToTextPipeline, scene: Scene) -> None:
    image = scene.draw(196, 140)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this image."}]}]
    one = pipe(text=messages, images=[image], return_full_text=False)
    assert one[0]["generated_text"] == scene.caption
    assert pipe(images=image, text="Describe this image.", return_full_text=False) == [
        {"input_text": "Describe this image.", "generated_text": scene.caption}
    ]
    inline = [
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": "Describe this image."}],
        }
    ]
    both = pipe(text=[inline, inline], return_full_text=False)
    assert [rows[0]["generated_text"] for rows in both] == [scene.caption] * 2


def test_settings(pipe: ImageTextToTextPipeline, scene: Scene) -> None:
    image = scene.draw(196, 140)
    cut = pipe(images=image, text="Describe this image.", max_new_tokens=2, return_full_text=False)
    assert len(cut[0]["generated_text"]) < len(scene.caption)
    stopped = pipe(images=image, text="Describe this image.", stop_strings=" on", return_full_text=False)
    assert stopped[0]["generated_text"] == scene.caption.split(" on")[0]
    with pytest.raises(UsageError, match="num_beams"):
        pipe(images=image, text="a", num_beams=4)
    with pytest.raises(UsageError, match="text-generation"):
        pipeline("text-generation")


def test_several_dialogues_at_a_time(scene: Scene) -> None:
    image = scene.draw(196, 140)
    content = [{"type": "image", "image": image}, {"type": "text", "text": "Describe this image."}]
    dialogues = [[{"role": "user", "content": content}] for _ in range(5)]
    pipe = pipeline("image-text-to-text", model="demo", batch_size=3)
    answers = pipe(text=dialogues, max_new_tokens=60, return_full_text=False, do_sample=False)
    assert [answer[0]["generated_text"] for answer in answers] == [scene.caption] * 5
    pipe.model.close()
