"""Everything that is true of a model family, in one record. The files that are named like families make them."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.convention import Convention
from ggufvlm.families.pages import GENERAL, PagePrompts
from ggufvlm.families.thinking_styles import ThinkingStyle

SCALE_FACTOR, MERGE_SIZE = "clip.vision.projector.scale_factor", "clip.vision.spatial_merge_size"


@dataclass(frozen=True, slots=True)
class CanvasRule:
    """The canvas on which libmtmd puts an image with black bars (``clip.cpp``, as vendored).

    Attributes:
        merge: patches of a token's side where the file does not tell.
        merge_key: the key by which it tells.
        bounds: least and most tokens of an image; ``None`` where the file has them in pixels, and where the user's are
            not asked for.
    """

    merge: int
    merge_key: str
    bounds: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family, or the part of it that has one kind of projector.

    Attributes:
        name: what to call it.
        projectors: the types of its projectors, as ``clip.projector_type`` has them. Several families may share one.
        handler: prompts, and the size at which an image is seen.
        word: what ``handler`` in models.toml says for it; several families may share it. Empty: none does.
        architectures: of its language models, where these tell it from a family with the same projector.
        names: parts of its models' names, where only these tell it from a family with the same projector.
        turns: Jinja source of a template for models of it whose GGUF carries none; it prints ``part.text`` for an
            image. ``None``: nobody knows one.
        merge_size: patches of a token's side where the projector's file does not tell.
        token_bounds: between which numbers of tokens libmtmd, or a file, lets a limit choose, where neither the handler
            nor ``canvas`` knows; ``None``: it has no effect.
        takes_any_size: whether a page is seen the better the more tokens it may take.
        canvas: how libmtmd letterboxes, where it does.
        convention: how models of it that the registry does not know write boxes; ``None``: nobody knows that they do.
        pages: how it is asked to read.
        thinks: the marks around the thoughts of its models, where some of them think.
        known_faults: what llama.cpp is known to compute otherwise than the reference, and we cannot mend.
    """

    name: str
    projectors: tuple[str, ...]
    handler: type[ChatHandler] = ChatHandler
    word: str = ""
    architectures: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    turns: str | None = None
    merge_size: int = 2
    token_bounds: tuple[int, int] | None = None
    takes_any_size: bool = False
    canvas: CanvasRule | None = None
    convention: Convention | None = None
    pages: PagePrompts = GENERAL
    thinks: ThinkingStyle | None = None
    known_faults: tuple[str, ...] = ()
