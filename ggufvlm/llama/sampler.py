"""From logits to the next token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from ggufvlm.config import SamplingParams
from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import llama
from ggufvlm.llama.context import Context
from ggufvlm.llama.grammar import Matcher
from ggufvlm.llama.vocab import Vocab

_WHOLE_ANSWER = 1 << 16  # llama.cpp takes a ring's size here, and would take -1 as "off"


class Sampler:
    """One sequence's sampler chain. Plain greedy choice skips the chain: an argmax over a view is far cheaper."""

    def __init__(self, params: SamplingParams, vocab: Vocab) -> None:
        """Make the chain.

        Raises:
            UsageError: the constraint is refused.
        """
        self.seed = secrets.randbits(31) if params.seed is None else params.seed
        self._matcher = Matcher(params.constraint.grammar(), vocab) if params.constraint else None
        self._has_penalties = params.has_penalties
        self._is_plain_greedy = params.temperature == 0 and not params.has_penalties
        self._chain = None if self._is_plain_greedy else _chain(params, vocab, self.seed)

    @property
    def is_complete(self) -> bool:
        """Whether a constraint lets nothing follow."""
        return self._matcher is not None and self._matcher.is_complete

    def sample(self, context: Context, row: int, *, is_free: bool = False) -> int:
        """Choose the token that follows a row of the last step, and remember it for the penalties.

        Under a constraint any token is drawn first, and only if that one is not allowed the others are ruled out: a
        model that knows what is wanted pays next to nothing. A second draw after a refused one has the distribution
        of the allowed tokens. The penalties' memory takes in each draw, so there the first one has to count.

        Args:
            context: that computed the step.
            row: of the step.
            is_free: the constraint does not hold yet.

        Raises:
            EngineError: the constraint cannot be followed further.
        """
        if self._matcher is None or is_free:
            return self._draw(context, row)
        if self._has_penalties:
            self._matcher.mask(context.logits(row))
        token = self._draw(context, row)
        if not self._matcher.allows(token):
            self._matcher.mask(context.logits(row))
            token = self._draw(context, row)
        self._matcher.accept(token)
        return token

    def _draw(self, context: Context, row: int) -> int:
        if self._is_plain_greedy:
            return int(context.logits(row).argmax())
        return int(llama.llama_sampler_sample(self._chain, context.handle, row))

    def close(self) -> None:
        """Free the chain. Safe to call twice."""
        if self._chain is not None:
            llama.llama_sampler_free(self._chain)
            self._chain = None


class GivenTokens:
    """In a sampler's place: the answer is known, and how probable it is gets measured.

    Attributes:
        tokens: the answer, without the token that ends it.
    """

    seed = 0

    def __init__(self, tokens: Sequence[int], end: int) -> None:
        self._rest = [*reversed(tokens)]
        self._end = end

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended where the vocabulary has no token for it."""
        return not self._rest and self._end < 0

    def sample(self, _context: Context, _row: int, *, is_free: bool = False) -> int:
        """The next token of the answer."""
        return self._rest.pop() if self._rest else self._end

    def close(self) -> None:
        """Nothing to free."""


def _chain(params: SamplingParams, vocab: Vocab, seed: int) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for link in _links(params, vocab, seed):
        if not link:
            llama.llama_sampler_free(chain)
            raise EngineError("a sampler could not be made")  # adding NULL to a chain is a segmentation fault
        llama.llama_sampler_chain_add(chain, link)
    return chain


def _links(params: SamplingParams, vocab: Vocab, seed: int) -> list[Any]:
    links = []
    if params.has_penalties:
        links.append(
            llama.llama_sampler_init_penalties(
                vocab.size,
                _WHOLE_ANSWER if params.penalty_last_n == -1 else params.penalty_last_n,
                params.repeat_penalty,
                params.frequency_penalty,
                params.presence_penalty,
            )
        )
    if params.temperature == 0:
        return [*links, llama.llama_sampler_init_greedy()]
    # top-k first: everything after it then sorts a handful of candidates and not the whole vocabulary
    if params.top_k:
        links.append(llama.llama_sampler_init_top_k(params.top_k))
    if params.top_p < 1:
        links.append(llama.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        links.append(llama.llama_sampler_init_min_p(params.min_p, 1))
    links.append(llama.llama_sampler_init_temp(params.temperature))
    return [*links, llama.llama_sampler_init_dist(seed)]
