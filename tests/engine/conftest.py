"""Engines that are checked and closed at the end of a test, and a model whose memory cannot be cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ggufvlm.engine.engine import Engine
from tests.support.engines import DEMO, MakeEngine, make_engine
from tests.support.random_models import write_hybrid


@pytest.fixture
def engines() -> Iterator[MakeEngine]:
    """Makes engines of the built-in model; each is checked and closed at the end."""
    made: list[Engine] = []

    def make(weights: Path = DEMO, **settings: Any) -> Engine:
        made.append(make_engine(weights, **settings))
        return made[-1]

    yield make
    for engine in made:
        engine.check()
        engine.close()


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with recurrent layers: its memory can be cleared but not cut."""
    return write_hybrid(tmp_path_factory.mktemp("hybrid") / "hybrid.gguf")
