"""What is told of a model that can be downloaded: its size, whether it fits this machine, what it is good for."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ggufvlm.models.registry import Registry
    from ggufvlm.models.schema import ModelSpec

_FOR_OTHERS = 0.9
"""The share of the memory that a model may take: the system needs some, too."""


def download_size(spec: ModelSpec) -> int | None:
    """Bytes of the default files; None if the registry does not know."""
    from ggufvlm.models.resolve import from_registry

    selection = from_registry(spec)
    model, projector = selection.model.size, selection.projectors[0].size
    return None if model is None or projector is None else model + projector


def size_shown(spec: ModelSpec) -> str:
    """The size for people."""
    from ggufvlm.models.hub.transfer import size_text

    size = download_size(spec)
    return "?" if size is None else size_text(size)


def fits(spec: ModelSpec) -> bool | None:
    """Whether the memory of this machine holds it with 8,192 tokens of context; None if nobody knows."""
    from ggufvlm.hardware.system import installed_memory

    memory = installed_memory()
    if spec.memory_gb is None or memory is None:
        return None
    return spec.memory_gb * 1e9 <= memory * _FOR_OTHERS


def tags(spec: ModelSpec, registry: Registry) -> list[str]:
    """Words to choose by."""
    found = ["recommended"] if spec in registry.recommended else []
    return [*found, "boxes"] if spec.grounding else found


def shortened(table: str, *, to_stderr: bool = False, kept: int = 0) -> str:
    """Lines cut to the width of a terminal; whole in a pipe.

    Args:
        table: of several lines.
        to_stderr: where it is shown, if not on stdout.
        kept: characters at the beginning of each line that are never cut off.
    """
    if not (sys.stderr if to_stderr else sys.stdout).isatty():
        return table
    width = max(shutil.get_terminal_size().columns, kept + 1)
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in table.splitlines())
