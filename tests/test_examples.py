"""The examples in docstrings of the functions people use most say what really comes out."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm import VLM, Chat, Constraint, classify, detect, ocr, pipeline

DEMO = Path(ggufvlm.__file__).parent / "demo"
EXAMPLES = {
    "ggufvlm": ggufvlm,
    "VLM.load": VLM.load,
    "VLM.describe": VLM.describe,
    "VLM.stream": VLM.stream,
    "VLM.map": VLM.map,
    "Chat": Chat,
    "Constraint.from_schema": Constraint.from_schema,
    "classify": classify,
    "detect": detect,
    "ocr": ocr,
    "pipeline": pipeline,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder with the images that the examples name; models that they load are closed at the end."""
    for name in ("blocks.png", "page.png"):
        shutil.copy(DEMO / "blocks-1.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    loaded: list[VLM] = []
    wait = VLM.wait_until_loaded

    def wait_and_note(vlm: VLM) -> None:
        loaded.append(vlm)
        wait(vlm)

    monkeypatch.setattr(VLM, "wait_until_loaded", wait_and_note)
    yield
    for vlm in loaded:
        vlm.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_it_says(folder: None, name: str) -> None:
    names = {public: getattr(ggufvlm, public) for public in ggufvlm.__all__}
    (example,) = doctest.DocTestFinder(recurse=False).find(EXAMPLES[name], name, module=False, globs=names)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(example, out=said.append)
    assert results.failed == 0, "".join(said)
