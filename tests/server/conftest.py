"""One server for all tests of a module that do it no harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.running import Running, started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the built-in model, four slots, as it is started without options."""
    with started(tmp_path_factory.mktemp("server")) as running:
        yield running
