"""Vision chat handlers, one family a file."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler, ModelFacts
from ggufvlm.families.gemma import Gemma3Handler
from ggufvlm.families.internvl import InternVLHandler
from ggufvlm.families.lfm2 import Lfm2VLHandler
from ggufvlm.families.llava import LlavaHandler
from ggufvlm.families.messages import Message, read_messages
from ggufvlm.families.moondream import MoondreamHandler
from ggufvlm.families.pixtral import PixtralHandler
from ggufvlm.families.plain import PlainHandler
from ggufvlm.families.qwen_vl import Qwen3VLHandler, QwenVLHandler
from ggufvlm.families.smolvlm import SmolVLMHandler
from ggufvlm.families.template import SpecialTokens

__all__ = ["ChatHandler", "Message", "ModelFacts", "PlainHandler", "SpecialTokens", "find_handler", "read_messages"]

_BY_NAME: dict[str, type[ChatHandler]] = {
    "qwen_vl": QwenVLHandler,
    "llava": LlavaHandler,
    "moondream": MoondreamHandler,
}
_BY_PROJECTOR: dict[str, type[ChatHandler]] = {
    "qwen2vl_merger": QwenVLHandler,
    "qwen2.5vl_merger": QwenVLHandler,
    "qwen3vl_merger": Qwen3VLHandler,
    "gemma3": Gemma3Handler,
    "idefics3": SmolVLMHandler,
    "internvl": InternVLHandler,
    "pixtral": PixtralHandler,
    "lfm2": Lfm2VLHandler,
    "mlp": LlavaHandler,
    "mlp_norm": LlavaHandler,
    "ldp": LlavaHandler,
    "ldpv2": LlavaHandler,
}


def find_handler(name: str | None, projector_type: str | None, architecture: str | None) -> type[ChatHandler]:
    """The handler of a family.

    Args:
        name: the registry's word for it, if the model is in the registry; a word may cover several projectors.
        projector_type: the projector's own word, more exact where it is known.
        architecture: of the language model; tells moondream's phi from LLaVA's.
    """
    if name == "moondream" or (name is None and projector_type == "mlp" and architecture == "phi2"):
        return MoondreamHandler
    return _BY_PROJECTOR.get(projector_type or "") or _BY_NAME.get(name or "", ChatHandler)
