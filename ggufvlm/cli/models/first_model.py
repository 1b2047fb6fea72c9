"""The first question on a machine without a model: which one is to be downloaded, by one key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ggufvlm.cli.terminal.asking import has_terminal
from ggufvlm.cli.terminal.console import columns, say
from ggufvlm.cli.terminal.interruption import Interrupted

if TYPE_CHECKING:
    from ggufvlm.models.registry import Registry
    from ggufvlm.models.schema import ModelSpec

_MOST_OFFERED = 3


def choose_first_model() -> str | None:
    """Offer a few models that fit this machine, where nobody has named one and none is there.

    Returns:
        The chosen one, which is the default from now on; None where there is nothing to choose, or nobody to ask.

    Raises:
        Interrupted: none is wanted.
    """
    from ggufvlm.models.hub.client import is_offline
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import find_default, on_disk, parse_name
    from ggufvlm.models.user_config import configure_model

    if not has_terminal() or find_default().source is not None:
        return None
    registry = load_registry()
    if on_disk(parse_name(registry.default.id, registry)) is not None:
        return None
    offered = _offered(registry)
    if len(offered) < 2 or is_offline() or _has_model(registry):
        return None
    chosen = _ask(offered)
    if chosen is not registry.default:
        path = configure_model(chosen.id)
        say(f"{chosen.id} is asked where none is named ({path}); `ggufvlm use` changes it")
    return chosen.id


def _has_model(registry: Registry) -> bool:
    from ggufvlm.models.inventory import inventory

    return any(installed.repo is not None for installed in inventory(registry))


def _offered(registry: Registry) -> list[ModelSpec]:
    from ggufvlm.cli.models.offers import fits

    return [spec for spec in registry.recommended if fits(spec) is not False][:_MOST_OFFERED]


def _ask(offered: list[ModelSpec]) -> ModelSpec:
    from ggufvlm.cli.models.offers import shortened, size_shown

    say("no model is on this machine yet; which one is to be downloaded?")
    rows = [(f"  {key}", spec.id, size_shown(spec), spec.summary) for key, spec in enumerate(offered, 1)]
    say(shortened(columns(rows, right=(2,)), to_stderr=True))
    say(f"1 to {len(offered)}, Enter for 1; any other key leaves. `ggufvlm list --all` shows more.")
    key = typer.getchar()
    if key in ("\r", "\n"):
        return offered[0]
    if key.isdecimal() and 0 < int(key) <= len(offered):
        return offered[int(key) - 1]
    raise Interrupted("nothing is downloaded; `ggufvlm demo` needs no model")
