"""``--alias``: other names under which clients ask for a model."""

from __future__ import annotations

from collections.abc import Sequence

from ggufvlm.errors import UsageError

_HINT = "--alias gpt-4o; with several models --alias gpt-4o=MODEL"


def read_aliases(given: Sequence[str], models: Sequence[tuple[str | None, str]]) -> list[tuple[str, ...]]:
    """The other names of each model.

    Args:
        given: each ``NAME``, or ``NAME=MODEL`` where there are several models.
        models: of each one what was typed after ``-m``, if anything was, and what it is called.

    Raises:
        UsageError: a name is empty, or it is not told of which model.
    """
    found: list[list[str]] = [[] for _ in models]
    for text in given:
        name, equals, model = text.partition("=")
        if not name.strip() or (equals and not model.strip()):
            raise UsageError(f"--alias {text}: a name is missing", hint=_HINT)
        if not equals and len(models) > 1:
            raise UsageError(f"--alias {text}: of which model?", hint=_HINT)
        found[_place(model, models) if equals else 0].append(name.strip())
    return [tuple(names) for names in found]


def _place(model: str, models: Sequence[tuple[str | None, str]]) -> int:
    """Raises: UsageError, there is none of this name."""
    for place, names in enumerate(models):
        if model.strip().lower() in (name.lower() for name in names if name):
            return place
    served = ", ".join(name for _, name in models)
    raise UsageError(f"--alias: no model called {model.strip()} is served", hint=f"there are: {served}")
