"""Grammars that an answer has to keep to: which tokens of a vocabulary may come next. By llguidance."""

from __future__ import annotations

import ctypes
import functools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import llama
from ggufvlm.llama.vocab import Vocab

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_SPECIAL = b"\xff"  # llguidance's mark of tokens that are not text
_grammar_vocabs: WeakKeyDictionary[Vocab, GrammarVocab] = WeakKeyDictionary()


class GrammarVocab:
    """A vocabulary as llguidance wants it. Making it takes up to a second, so it is made once, in a thread of its own:
    meanwhile the image is encoded.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._made: Future[Any] = Future()
        threading.Thread(target=self._make, args=(vocab.twin(),), name="ggufvlm-grammar", daemon=True).start()

    def _make(self, vocab: Vocab) -> None:
        try:
            self._made.set_result(_tokenizer(vocab))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._made.set_exception(error)

    def get(self) -> Any:
        """Wait for it."""
        return self._made.result()

    def wait(self) -> None:
        """Until native code no longer looks at the vocabulary."""
        self._made.exception()


class Matcher:
    """How far one answer has come in its grammar.

    Args:
        grammar: llguidance's grammar, from :meth:`.constraint.Constraint.grammar`.
        vocab: of the model that answers.
    """

    def __init__(self, grammar: str, vocab: Vocab) -> None:
        self._grammar = grammar
        self._vocab = begin_vocab(vocab)
        self._is_end = vocab.is_end

    @functools.cached_property
    def _matcher(self) -> Any:
        """Raises: EngineError, if llguidance refuses the grammar for this vocabulary; the message is its own."""
        from llguidance import LLMatcher

        matcher = LLMatcher(self._vocab.get(), self._grammar, log_level=0)
        if matcher.is_error():
            raise EngineError(f"the constraint is refused: {_sentence(matcher.get_error())}")
        return matcher

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
    """As llguidance.llamacpp does it, which calls functions that llama-cpp-python has deprecated."""
    from llguidance import LLTokenizer

    marks = (_SPECIAL if vocab.looks_special(token) else b"" for token in range(vocab.size))
    return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=[mark + vocab.piece(token, special=True) for token, mark in enumerate(marks)],
        vocab_ptr=vocab.handle,
        tokenize_fptr=ctypes.cast(llama.llama_tokenize, ctypes.c_void_p).value,
        eos_token=list(vocab.ends) or vocab.eos_id,
    )


def begin_vocab(vocab: Vocab) -> GrammarVocab:
    """The vocabulary's other form, which is being made if it is not there yet."""
    if vocab not in _grammar_vocabs:
        _grammar_vocabs[vocab] = GrammarVocab(vocab)
    return _grammar_vocabs[vocab]


def wait_for_vocab(vocab: Vocab) -> None:
    """Until no thread looks at the vocabulary any more: its model can be freed then."""
    if vocab in _grammar_vocabs:
        _grammar_vocabs.pop(vocab).wait()


def _sentence(error: str) -> str:
    """The first line of an error: what follows are hints for the grammar's author."""
    return next((line.strip() for line in error.splitlines() if line.strip()), "")
