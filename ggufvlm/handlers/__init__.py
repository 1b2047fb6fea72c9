"""Vision chat handlers, one family a file."""

from __future__ import annotations

from ggufvlm.handlers.base import ChatHandler, ModelFacts
from ggufvlm.handlers.llava import LlavaHandler
from ggufvlm.handlers.messages import Message, read_messages
from ggufvlm.handlers.moondream import MoondreamHandler
from ggufvlm.handlers.plain import PlainHandler
from ggufvlm.handlers.qwen_vl import QwenVLHandler
from ggufvlm.handlers.template import SpecialTokens

__all__ = ["ChatHandler", "Message", "ModelFacts", "PlainHandler", "SpecialTokens", "find_handler", "read_messages"]

_BY_NAME: dict[str, type[ChatHandler]] = {
    "qwen_vl": QwenVLHandler,
    "llava": LlavaHandler,
    "moondream": MoondreamHandler,
}
_BY_PROJECTOR = {
    "qwen2vl_merger": "qwen_vl",
    "qwen2.5vl_merger": "qwen_vl",
    "qwen3vl_merger": "qwen_vl",
    "mlp": "llava",
    "mlp_norm": "llava",
    "ldp": "llava",
    "ldpv2": "llava",
}


def find_handler(name: str | None, projector_type: str | None, architecture: str | None) -> type[ChatHandler]:
    """The handler of a family.

    Args:
        name: the registry's word for it, if the model is in the registry.
        projector_type: the projector's own word, decides otherwise.
        architecture: of the language model; tells moondream's phi from LLaVA's.
    """
    if name is None:
        name = (
            "moondream"
            if projector_type == "mlp" and architecture == "phi2"
            else _BY_PROJECTOR.get(projector_type or "")
        )
    return _BY_NAME.get(name or "", ChatHandler)
