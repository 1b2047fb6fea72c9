"""moondream2 in its old GGUF form: question and answer, no roles."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler


class MoondreamHandler(ChatHandler):
    fallback_template = "moondream"
