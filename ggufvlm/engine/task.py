"""What belongs to a sequence but is not plain data, and the way from its tokens to its text."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.engine.detokenizer import Detokenizer
from ggufvlm.engine.probabilities import log_share, token_logprob
from ggufvlm.engine.repetition import RepetitionGuard
from ggufvlm.engine.request import Request
from ggufvlm.engine.sequence import FinishReason, Sequence
from ggufvlm.engine.thoughts import Piece, ThoughtSplitter
from ggufvlm.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ggufvlm.engine.runner import Prompt, Runner
    from ggufvlm.llama.sampler import GivenTokens, Sampler
    from ggufvlm.llama.vocab import Vocab


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Output:
    """What a step gave one sequence: some text of answer or thoughts (maybe none), and whether that was the end.

    ``is_last`` is not read off the sequence: by the time another thread looks at it, a later step may have ended it.
    ``error`` is set when the sequence failed.
    """

    sequence: Sequence
    text: str
    is_last: bool = False
    error: EngineError | None = None
    thought: str = ""


@dataclass(slots=True)
class Task:
    """The native and stateful things of one sequence.

    Attributes:
        added_at: when it came, in seconds of ``time.perf_counter``.
        n_logprobs: alternatives whose log-probabilities are noted for each token; ``None`` notes none.
        is_scored: the answer is given, and only its probability is wanted.
        show_special: control tokens are text of the answer.
        ignores_eos: no token ends the answer.
        thoughts: tells thoughts and answer apart; None if the model does not think.
        embeddings: of the image that is being computed.
    """

    prompt: Prompt
    sampler: Sampler | GivenTokens
    detokenizer: Detokenizer
    guard: RepetitionGuard | None
    added_at: float
    n_logprobs: int | None
    is_scored: bool
    show_special: bool
    ignores_eos: bool
    thoughts: ThoughtSplitter | None = None
    embeddings: NDArray[np.float32] | None = None

    @classmethod
    def make(
        cls,
        request: Request,
        prompt: Prompt,
        sampler: Sampler | GivenTokens,
        thoughts: ThoughtSplitter | None,
        added_at: float,
    ) -> Task:
        """The task of a request.

        Args:
            request: what is asked.
            prompt: its tokens and images.
            sampler: chooses the tokens.
            thoughts: tells thoughts and answer apart, if there are any.
            added_at: when it came, in seconds of ``time.perf_counter``.
        """
        return cls(
            prompt=prompt,
            sampler=sampler,
            detokenizer=Detokenizer(request.sampling.stop, strip_start=request.strip_start),
            guard=RepetitionGuard() if request.sampling.repetition_guard and request.continuation is None else None,
            added_at=added_at,
            n_logprobs=request.sampling.logprobs,
            is_scored=request.continuation is not None,
            show_special=request.sampling.show_special,
            ignores_eos=request.sampling.ignore_eos,
            thoughts=thoughts,
        )

    def choose(self, runner: Runner, sequence: Sequence, row: int) -> int:
        """The token that follows a row of the last step; what is wanted of its probability is noted.

        Args:
            runner: has the logits.
            sequence: the sequence that goes on.
            row: of the last token step.

        Raises:
            EngineError: its constraint cannot be followed further.
        """
        if self.thoughts is not None and self.thoughts.is_thinking:
            forced = self.thoughts.next_forced()
            return runner.sample(self.sampler, row, is_free=True) if forced is None else forced
        if self.n_logprobs is None and not self.is_scored:
            return runner.sample(self.sampler, row)
        logits, vocab = runner.logits(row), runner.model.vocab  # as they are before a constraint rules some out
        token = runner.sample(self.sampler, row)
        if self.is_scored:
            sequence.score += log_share(logits, vocab.ends if vocab.is_end(token) else [token])
        elif self.n_logprobs is not None and (self.ignores_eos or not vocab.is_end(token)):
            noted = token_logprob(logits, token, self.n_logprobs, lambda other: vocab.piece(other, special=True))
            sequence.logprobs.append(noted)
        return token

    def reason_to_end(self, sequence: Sequence, n_ctx_limit: int) -> FinishReason | None:
        """Why the answer is to end after its last token, if it is."""
        is_thinking = self.thoughts is not None and self.thoughts.is_thinking
        if not is_thinking and (self.detokenizer.stopped or self.sampler.is_complete):
            return "stop"
        if self.guard is not None and self.guard.is_loop(sequence.generated):
            return "repetition"
        if sequence.n_counted == sequence.max_tokens and (not is_thinking or sequence.thoughts_are_counted):
            return "length"
        return "length" if sequence.n_prompt + len(sequence.generated) >= n_ctx_limit else None

    def read(self, sequence: Sequence, token: int, vocab: Vocab) -> tuple[str, str]:
        """What a chosen token adds to the thoughts and to the answer, as far as that is certain."""
        plain = vocab.piece(token, special=self.show_special)
        if self.thoughts is None:
            return "", self.detokenizer.push(plain)
        was_thinking, n_before = self.thoughts.is_thinking, self.thoughts.n_tokens
        thought, answer = self.thoughts.push(Piece(token, plain, vocab.piece(token, special=True)))
        if was_thinking and not self.thoughts.is_thinking:
            self.detokenizer.strip_all_blanks()
        sequence.n_thoughts = self.thoughts.n_tokens
        if not was_thinking:  # the mark that has come was noted as if it were the answer
            del sequence.logprobs[max(0, len(sequence.logprobs) + n_before - sequence.n_thoughts) :]
        return thought, self.detokenizer.push(answer)

    def read_end(self) -> tuple[str, str]:
        """What was held back of thoughts and answer."""
        if self.thoughts is None:
            return "", self.detokenizer.finish()
        thought, answer = self.thoughts.finish()
        return thought, self.detokenizer.push(answer) + self.detokenizer.finish()

    def close(self) -> None:
        """Free what is native."""
        self.sampler.close()
        self.prompt.close()
        self.embeddings = None


def as_engine_error(error: Exception) -> EngineError:
    """An error as requests get it; one that nobody foresaw is logged with its traceback."""
    if isinstance(error, EngineError):
        return error
    logger.error("a request failed", exc_info=error)
    return EngineError(f"the request failed: {type(error).__name__}: {error}"[:500])
