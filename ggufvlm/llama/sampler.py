"""From logits to the next token."""

from __future__ import annotations

import secrets
from typing import Any

from ggufvlm.config import SamplingParams
from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import llama
from ggufvlm.llama.context import Context
from ggufvlm.llama.vocab import Vocab

_WHOLE_ANSWER = 1 << 16  # llama.cpp takes a ring's size here, and would take -1 as "off"


class Sampler:
    """One sequence's sampler chain. Plain greedy choice skips the chain: an argmax over a view is far cheaper."""

    def __init__(self, params: SamplingParams, vocab: Vocab) -> None:
        self.seed = secrets.randbits(31) if params.seed is None else params.seed
        self._is_plain_greedy = params.temperature == 0 and not params.has_penalties
        self._chain = None if self._is_plain_greedy else _chain(params, vocab, self.seed)

    def sample(self, context: Context, row: int) -> int:
        """Choose the token that follows a row of the last step, and remember it for the penalties."""
        if self._is_plain_greedy:
            return int(context.logits(row).argmax())
        return int(llama.llama_sampler_sample(self._chain, context.handle, row))

    def close(self) -> None:
        """Free the chain. Safe to call twice."""
        if self._chain is not None:
            llama.llama_sampler_free(self._chain)
            self._chain = None


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
