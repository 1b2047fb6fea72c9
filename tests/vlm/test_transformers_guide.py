"""Snippets of Transformers' guide to image-text-to-text, of which only the import is another.

The name of the model and the host of the images are put in as they are read: nothing here reaches the Hub.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from ggufvlm import VLM
from tests.support.scenes import Block, Scene

CATS = Scene("white", (Block("blue", "column", (0.1, 0.15, 0.25, 0.9)), Block("red", "square", (0.5, 0.3, 0.8, 0.72))))
BEE = Scene("yellow", (Block("green", "bar", (0.2, 0.4, 0.8, 0.75)),))
HOST = "https://huggingface.co/datasets/huggingface/documentation-images/resolve/main"
IMPORT = "from transformers import pipeline"

PIPE = f"""
{IMPORT}
pipe = pipeline("image-text-to-text", model="HuggingFaceTB/SmolVLM-256M-Instruct")
"""

ONE_IMAGE = f"""
messages = [
     {{
         "role": "user",
         "content": [
             {{
                 "type": "image",
                 "image": "{HOST}/bee.jpg",
             }},
             {{"type": "text", "text": "Describe this image."}},
         ],
     }}
 ]
outputs = pipe(text=messages, max_new_tokens=60, return_full_text=False)
result = outputs[0]["generated_text"]
"""

CONTINUED = f"""
messages = [
     {{
         "role": "user",
         "content": [
             {{
                 "type": "image",
                 "image": "{HOST}/bee.jpg",
             }},
             {{"type": "text", "text": "Describe this image."}},
         ],
     }},
     {{
         "role": "assistant",
         "content": [
             {{"type": "text", "text": "A green"}},
         ],
     }},
 ]
outputs = pipe(text=messages, max_new_tokens=20, return_full_text=False)
result = outputs[0]["generated_text"]
"""

TWO_IMAGES = f"""
img_urls = [
    "{HOST}/cats.png",
    "{HOST}/bee.jpg",
]
images = [
    Image.open(requests.get(img_urls[0], stream=True).raw),
    Image.open(requests.get(img_urls[1], stream=True).raw),
]

messages = [
    {{
        "role": "user",
        "content": [
            {{"type": "image"}},
            {{"type": "image"}},
            {{"type": "text", "text": "Describe each image."}},
        ],
    }}
]
outputs = pipe(text=messages, images=images, max_new_tokens=50, return_full_text=False)
result = outputs[0]["generated_text"]
"""

INPUT_TEXT = TWO_IMAGES + "result = outputs[0]['input_text']"

TURNS = f"""
messages = [
    {{
        "role": "user",
        "content": [
            {{"type": "image", "image": "{HOST}/cats.png"}},
            {{"type": "text", "text": "Describe this image."}},
        ]
    }},
    {{
        "role": "assistant",
        "content": [
            {{"type": "text", "text": "{CATS.caption}"}},
        ]
    }},
    {{
        "role": "user",
        "content": [
            {{"type": "text", "text": "What is on the left?"}},
        ]
    }},
]
result = pipe(text=messages)
"""

PAIRED = f"""
image, other = "{HOST}/cats.png", "{HOST}/bee.jpg"
text = "Describe this image."
result = pipe([image, other], text=[text, text], batch_size=2, max_new_tokens=40)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("images")
    CATS.draw(196, 140).save(folder / "cats.png")
    BEE.draw(196, 140).save(folder / "bee.jpg", format="PNG")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Requests:
    """As much of ``requests`` as the guide needs."""

    @staticmethod
    def get(url: str, *, stream: bool) -> Any:
        import io
        import urllib.request
        from types import SimpleNamespace

        assert stream
        return SimpleNamespace(raw=io.BytesIO(urllib.request.urlopen(url).read()))


@pytest.fixture
def result_of(host: str, demo: VLM, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a snippet; what it calls ``result``."""
    monkeypatch.setattr(VLM, "load", lambda model, *_, **__: demo if model == "smolvlm-256m" else None)

    def run(snippet: str) -> Any:
        code = (PIPE + snippet).replace(IMPORT, "from ggufvlm import pipeline").replace(HOST, host)
        names: dict[str, Any] = {"Image": Image, "requests": _Requests}
        exec(code, names)
        return names["result"]

    return run


def test_an_image_by_its_url(result_of: Any) -> None:
    assert result_of(ONE_IMAGE) == BEE.caption


def test_an_answer_that_has_begun(result_of: Any) -> None:
    assert "A green" + result_of(CONTINUED) == BEE.caption


def test_images_loaded_apart(result_of: Any) -> None:
    assert result_of(TWO_IMAGES) == f"Image 1: {CATS.caption} Image 2: {BEE.caption}"


def test_the_input_names_its_images(result_of: Any) -> None:
    (message,) = result_of(INPUT_TEXT)
    kinds = [type(item["image"]).__mro__[-2] if item["type"] == "image" else item for item in message["content"]]
    assert kinds == [Image.Image, Image.Image, {"type": "text", "text": "Describe each image."}]


def test_several_turns(result_of: Any) -> None:
    (row,) = result_of(TURNS)
    assert row["generated_text"][:3] == row["input_text"]
    assert row["generated_text"][3] == {"role": "assistant", "content": "The blue column."}


def test_texts_and_images_in_pairs(result_of: Any) -> None:
    text = "Describe this image."
    assert result_of(PAIRED) == [
        {"input_text": text, "generated_text": text + CATS.caption},
        {"input_text": text, "generated_text": text + BEE.caption},
    ]
