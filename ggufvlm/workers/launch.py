"""How a child process of this package is started: with the modules of its parent, and none from the working folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGE_FOLDER = str(Path(__file__).absolute().parents[2])


def command(module: str, *arguments: str, max_memory: int | None = None) -> list[str]:
    """The command line that runs the function ``main`` of a module of this package in a new Python process.

    ``python -m`` would look for modules in the working folder first, and a file there called ``json.py`` or
    ``numpy.py`` would run in our place. The child gets the parent's search path instead, without that folder.

    Args:
        module: the module's full name; ``sys.exit`` gets what its ``main()`` returns.
        arguments: become ``sys.argv[1:]``.
        max_memory: bytes of address space that the process may have; where the system has no such limit, it has none.

    Returns:
        The command, without a shell's quoting.
    """
    limit = "" if max_memory is None or sys.platform == "win32" else _LIMIT.format(n_bytes=max_memory)
    code = f"import sys; sys.path[:] = {_search_path()!a}; {limit}from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


_LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({n_bytes}, {n_bytes})); "


def _search_path() -> list[str]:
    """The parent's search path in absolute names; the working folder only stays if this package lies there."""
    working_folder = str(Path.cwd())
    folders = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100 - an empty name is the working folder
    return [folder for folder in folders if folder != working_folder or folder == _PACKAGE_FOLDER]
