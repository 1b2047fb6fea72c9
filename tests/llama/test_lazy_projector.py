"""What is told of images without a projector is what libmtmd tells with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError, PairingError
from ggufvlm.llama.chunks import ImageInput, TextInput
from ggufvlm.llama.layout import Layout, from_bytes, to_bytes
from ggufvlm.llama.lazy_projector import LazyProjector
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget

FOLDER = Path(ggufvlm.__file__).parent / "demo"


class Kept:
    """Layouts that go through their bytes, as on the disk."""

    def __init__(self) -> None:
        self.content: dict[tuple[int, int], bytes] = {}

    def get(self, width: int, height: int) -> Layout | None:
        content = self.content.get((width, height))
        return None if content is None else from_bytes(content)

    def put(self, width: int, height: int, layout: Layout) -> None:
        self.content[width, height] = to_bytes(layout)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(FOLDER / "tiny-qwen2vl-Q8_0.gguf") as model:
        yield model


@pytest.fixture(scope="module")
def projector(model: Model) -> Iterator[Projector]:
    budget = TokenBudget(minimum=1, maximum=4096)
    made = Projector(FOLDER / "mmproj-tiny-qwen2vl-F16.gguf", model, EngineConfig(), budget, 2)
    yield made
    made.close()


def not_needed() -> Projector:
    raise AssertionError("no projector should be loaded")


texts = st.builds(
    TextInput,
    st.one_of(st.text(max_size=20), st.sampled_from(["<|im_start|>user\n", "<|im_end|>\n", "Describe this image."])),
    st.booleans(),
)
images = st.builds(ImageInput, st.sampled_from("01"), st.integers(28, 400), st.integers(28, 400))


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.one_of(texts, images), max_size=6), add_special=st.booleans(), start=st.integers(0, 3000))
def test_known_layouts_give_the_same_chunks(
    model: Model, projector: Projector, parts: list[TextInput | ImageInput], add_special: bool, start: int
) -> None:
    kept = Kept()
    expected = LazyProjector(model.vocab, projector, not_needed, kept).tokenize(parts, add_special=add_special)
    lazy = LazyProjector(model.vocab, None, not_needed, kept)
    told = lazy.tokenize(parts, add_special=add_special)
    assert len(told) == len(expected)
    for one, other in zip(told, expected, strict=True):
        assert (one.n_cells, one.n_pos, one.tokens, one.image_id) == (
            other.n_cells,
            other.n_pos,
            other.tokens,
            other.image_id,
        )
        if one.tokens is None:
            assert lazy.is_causal(one) == projector.is_causal(other)
            np.testing.assert_array_equal(lazy.positions(one, start), projector.positions(other, start))
    expected.close()


def test_an_unknown_size_loads_the_projector_once(model: Model, projector: Projector) -> None:
    n_loads = 0

    def load() -> Projector:
        nonlocal n_loads
        n_loads += 1
        return projector

    lazy = LazyProjector(model.vocab, None, load, Kept())
    for _ in range(2):
        lazy.tokenize([ImageInput("0", 56, 56)], add_special=False).close()
    assert n_loads == 1
    assert lazy.is_loaded


def test_a_projector_that_cannot_be_loaded_is_an_error_of_that_question(model: Model) -> None:
    def fail() -> Projector:
        raise PairingError("mmproj.gguf: damaged", hint="pull it again")

    lazy = LazyProjector(model.vocab, None, fail, Kept())
    with pytest.raises(EngineError, match=r"mmproj\.gguf: damaged"):
        lazy.tokenize([ImageInput("0", 56, 56)], add_special=False)


def test_a_layout_of_another_version_is_not_read() -> None:
    assert from_bytes(b'{"version": 0}') is None
