"""A prompt and its answer as tokens, for those who keep them and send them back."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.engine.engine import Engine
from ggufvlm.engine.kv_capacity import refuse_long_text
from ggufvlm.engine.request import ImagePart, Request, TokensPart, merge_text
from ggufvlm.llama.vocab import Vocab

TokenRuns = tuple[tuple[int, ...], ...]
"""Tokens of a prompt, cut where an image stands: one run more than images."""


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Tokenizes as an engine does, beside it. For any thread.

    Attributes:
        vocab: no other's.
        n_ctx_limit: cells of the engine's largest context.
    """

    vocab: Vocab
    n_ctx_limit: int

    @classmethod
    def of_engine(cls, engine: Engine) -> PromptTokens:
        """That of an engine; to be called in its thread."""
        return cls(engine.model.vocab.twin(), engine.n_ctx_limit)

    def of_request(self, request: Request) -> TokenRuns:
        """The tokens of a prompt's texts as the engine computes them.

        Raises:
            ContextOverflow: the texts are too long to be counted.
        """
        refuse_long_text(request, self.n_ctx_limit)
        vocab = self.vocab
        runs: list[list[int]] = [[vocab.bos_id] if request.add_special and vocab.adds_bos else []]
        for part in merge_text(request.parts, vocab.control_tokens):
            if isinstance(part, ImagePart):
                runs.append([])
            elif isinstance(part, TokensPart):
                runs[-1] += part.tokens
            else:
                runs[-1] += vocab.tokenize(part.text, parse_special=part.trusted)
        return tuple(map(tuple, runs))

    def of_text(self, text: str) -> tuple[int, ...]:
        """The tokens of a text in which nothing is special."""
        return tuple(self.vocab.tokenize(text, parse_special=False))
