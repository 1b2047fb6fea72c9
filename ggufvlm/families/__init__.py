"""Model families, one family a file; :mod:`ggufvlm.families.registry` knows them all."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler, ModelFacts
from ggufvlm.families.messages import Message, read_messages
from ggufvlm.families.plain import PlainHandler
from ggufvlm.families.template import SpecialTokens

__all__ = ["ChatHandler", "Message", "ModelFacts", "PlainHandler", "SpecialTokens", "read_messages"]
