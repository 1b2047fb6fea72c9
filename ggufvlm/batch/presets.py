"""Moved to :mod:`ggufvlm.tasks.presets`."""

from __future__ import annotations

from ggufvlm.tasks.presets import PRESETS, Preset, find_preset

__all__ = ["PRESETS", "Preset", "find_preset"]
