"""Code written for Transformers' pipeline, with the import changed (from the Hub's image-text-to-text task page)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, EngineConfig, UsageError, pipeline
from ggufvlm.vlm.transformers_pipeline import ImageTextToTextPipeline
from ggufvlm.vlm.transformers_settings import gguf_name, placed
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


def test_one_image_each(pipe: ImageTextToTextPipeline, scene: Scene, image: str) -> None:
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this image."}]}]
    rows = pipe(images=[image, [image]], text=[chat, chat], return_full_text=False)
    assert [row["generated_text"] for (row,) in rows] == [scene.caption] * 2
    both = pipe(images=image, text=["What is on the left?", "Describe this image."], return_full_text=False)
    assert both[1] == {"input_text": "Describe this image.", "generated_text": scene.caption}
    with pytest.raises(UsageError, match="2 texts and 3 images: they are paired one to one"):
        pipe(images=[image] * 3, text=["a", "b"])
    with pytest.raises(UsageError, match="1 more image"):
        pipe(images=[image] * 2, text=chat)


def test_whether_a_last_answer_is_continued(pipe: ImageTextToTextPipeline, image: str, scene: Scene) -> None:
    asked = {
        "role": "user",
        "content": [{"type": "image", "path": image}, {"type": "text", "text": "Describe this image."}],
    }
    begun = " ".join(scene.caption.split()[:3])
    messages = [asked, {"role": "assistant", "content": begun}]
    assert pipe(text=messages, continue_final_message=True)[0]["generated_text"] == [
        asked,
        {"role": "assistant", "content": scene.caption},
    ]
    anew = pipe(text=messages, continue_final_message=False, max_new_tokens=5)[0]["generated_text"]
    assert anew[:2] == messages
    assert anew[2]["role"] == "assistant"
    with pytest.raises(UsageError, match="continue_final_message"):
        pipe(text=[asked], continue_final_message=True)


def test_options_without_effect_and_options_that_are_refused_by_name(pipe: ImageTextToTextPipeline, image: str) -> None:
    plain = pipe(images=image, text="Describe this image.", do_sample=False)
    assert pipe(images=image, text="Describe this image.", num_beams=1, timeout=5.0, batch_size=8) == plain
    for name, value in {"num_return_sequences": 2, "streamer": print, "padding": True, "tokenizer": "x"}.items():
        with pytest.raises(UsageError, match=name):
            pipe(images=image, text="a", **{name: value})


@pytest.mark.parametrize(
    ("given", "n_gpu_layers"),
    [({"device": "cpu"}, 0), ({"device": -1}, 0), ({"device": 0}, None), ({"device_map": "auto"}, None)],
)
def test_devices(given: dict[str, Any], n_gpu_layers: int | None) -> None:
    assert placed(EngineConfig(), given.get("device"), given.get("device_map")).n_gpu_layers == n_gpu_layers


@pytest.mark.parametrize("device", [1, "cuda:1", "tpu"])
def test_devices_that_cannot_be_chosen(device: object) -> None:
    with pytest.raises(UsageError, match="device="):
        pipeline("image-text-to-text", model="demo", device=device)
    with pytest.raises(UsageError, match="device_map"):
        pipeline("image-text-to-text", model="demo", device_map={"": 0})


def test_settings_for_all_calls_and_a_model_that_is_loaded(demo: VLM, image: str) -> None:
    pipe = pipeline(None, model=demo, dtype="bfloat16", torch_dtype="auto", trust_remote_code=True, max_new_tokens=2)
    assert (
        len(pipe(images=image, text="Describe this image.", return_full_text=False)[0]["generated_text"].split()) <= 2
    )
    with pytest.raises(UsageError, match="quantization_config"):
        pipeline("image-text-to-text", model="demo", quantization_config=object())


def test_repositories_of_weights_stand_for_their_gguf() -> None:
    assert gguf_name("Qwen/Qwen3-VL-4B-Instruct") == "qwen3-vl-4b"
    assert gguf_name("Qwen/Qwen3-VL-4B-Instruct:Q8_0") == "qwen3-vl-4b:Q8_0"
    for name in ("demo", "qwen3-vl-4b", "Qwen/Qwen3-VL-4B-Instruct-GGUF", "somebody/something", "a/b/c.gguf"):
        assert gguf_name(name) == name
