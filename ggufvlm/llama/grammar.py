"""Grammars that an answer has to keep to: which tokens of a vocabulary may come next. By llguidance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ggufvlm.errors import EngineError, UsageError
from ggufvlm.llama.vocab import Vocab

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Matcher:
    """How far one answer has come in its grammar.

    Args:
        grammar: llguidance's grammar, from :meth:`Constraint.grammar <ggufvlm.constraint.Constraint.grammar>`.
        vocab: of the model that answers.
    """

    def __init__(self, grammar: str, vocab: Vocab) -> None:
        """Begin an answer.

        Raises:
            UsageError: llguidance refuses the grammar; the message is its own.
        """
        from llguidance import LLMatcher

        self._matcher: Any = LLMatcher(_tokenizer(vocab), grammar, log_level=0)
        self._is_end = vocab.is_end
        if self._matcher.is_error():
            raise UsageError(f"the constraint is refused: {_sentence(self._matcher.get_error())}")

    @property
    def is_complete(self) -> bool:
        """Whether the answer can only end here."""
        return bool(self._matcher.is_stopped())

    def allows(self, token: int) -> bool:
        """Whether the token may come next; a token that ends the answer, whether it may end here."""
        if self._is_end(token):
            return bool(self._matcher.is_accepting())
        return bool(self._matcher.validate_tokens([token]) == 1)

    def accept(self, token: int) -> None:
        """Go on behind a token that is allowed.

        Raises:
            EngineError: the grammar has become too large to follow.
        """
        if not self._is_end(token) and not self._matcher.consume_token(token):
            raise EngineError(f"the constraint cannot be followed further: {_sentence(self._matcher.get_error())}")

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set the logits [n_vocab] of all tokens that are not allowed to minus infinity, in place.

        Raises:
            EngineError: nothing may follow: the grammar has become too large, or the vocabulary lacks the bytes.
        """
        import numpy as np

        bits = np.zeros((len(logits) + 31) // 32, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        allowed = np.unpackbits(bits.view(np.uint8), count=len(logits), bitorder="little")
        if self._matcher.is_error() or not allowed.any():
            raise EngineError(
                f"the constraint cannot be followed further: {_sentence(self._matcher.get_error()) or 'no token fits'}"
            )
        logits[allowed == 0] = -np.inf


def _tokenizer(vocab: Vocab) -> Any:
    """The vocabulary as llguidance wants it: made once, as it takes up to a second."""
    if vocab.grammar_tokenizer is None:
        from llguidance.llamacpp import lltokenizer_from_vocab

        vocab.grammar_tokenizer = lltokenizer_from_vocab(vocab.handle, eos_token=list(vocab.ends) or None)
    return vocab.grammar_tokenizer


def _sentence(error: str) -> str:
    """The first line of an error: what follows are hints for the grammar's author."""
    return next((line.strip() for line in error.splitlines() if line.strip()), "")
