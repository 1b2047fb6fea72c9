"""Imports go down only: the order of the rooms, no circle between files, no name that is private to another module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ggufvlm

PACKAGE = Path(ggufvlm.__file__).parent

ROOMS = (
    ("version",),
    ("errors",),
    ("files", "guide", "workers"),
    ("constraints",),
    ("config",),
    ("cache",),
    ("gguf",),
    ("hardware",),
    ("models",),
    ("media",),
    ("llama",),
    ("projectors",),
    ("engine",),
    ("families",),
    ("vlm",),
    ("chat", "grounding"),
    ("tasks",),
    ("batch",),
    ("tools", "server", "spark"),
    ("cli",),
    ("__main__", "__init__"),
)
"""From the ground up. A room may import the rooms before it; rooms in one line know nothing of each other."""

FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def _modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def _room(module: str) -> str:
    """The room of a module: the first name behind the package's, which of the package itself is ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def _imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports: at its top, within functions, and for types alone."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    yield whole
                elif node.module in MODULES:
                    yield node.module


def test_every_room_has_its_floor() -> None:
    assert {_room(module) for module in MODULES} == set(FLOOR)


def test_imports_go_down_only() -> None:
    against = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in _imports(module)
        if _room(module) != _room(imported) and FLOOR[_room(imported)] >= FLOOR[_room(module)]
    ]
    assert against == []


def test_no_circle_between_files() -> None:
    try:
        tuple(TopologicalSorter({module: set(_imports(module)) - {module} for module in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nobody_imports_private_names() -> None:
    private = [
        f"{module} imports {alias.name} from {node.module}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ggufvlm")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert private == []


def test_few_files_lie_at_the_root() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}
