"""What belongs to a sequence but is not plain data, and the way from its tokens to its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.engine.detokenizer import Detokenizer
from ggufvlm.engine.repetition import RepetitionGuard
from ggufvlm.engine.request import Request
from ggufvlm.engine.sequence import FinishReason, Sequence
from ggufvlm.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ggufvlm.engine.runner import Prompt
    from ggufvlm.llama.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Output:
    """What a step gave one sequence: some text (maybe none), and whether that was the end.

    ``is_last`` is not read off the sequence: by the time another thread looks at it, a later step may have ended it.
    ``error`` is set when the sequence failed.
    """

    sequence: Sequence
    text: str
    is_last: bool = False
    error: EngineError | None = None


@dataclass(slots=True)
class Task:
    """The native and stateful things of one sequence.

    Attributes:
        added_at: when it came, in seconds of ``time.perf_counter``.
        embeddings: of the picture that is being computed.
    """

    prompt: Prompt
    sampler: Sampler
    detokenizer: Detokenizer
    guard: RepetitionGuard | None
    added_at: float
    embeddings: NDArray[np.float32] | None = None

    @classmethod
    def make(cls, request: Request, prompt: Prompt, sampler: Sampler, added_at: float) -> Task:
        """The task of a request."""
        return cls(
            prompt=prompt,
            sampler=sampler,
            detokenizer=Detokenizer(request.sampling.stop, strip_start=request.strip_start),
            guard=RepetitionGuard() if request.sampling.repetition_guard else None,
            added_at=added_at,
        )

    def reason_to_end(self, sequence: Sequence, n_ctx_limit: int) -> FinishReason | None:
        """Why the answer is to end after its last token, if it is."""
        if self.detokenizer.stopped:
            return "stop"
        if self.guard is not None and self.guard.is_loop(sequence.generated):
            return "repetition"
        n_said = len(sequence.generated)
        if n_said == sequence.max_tokens or sequence.n_prompt + n_said >= n_ctx_limit:
            return "length"
        return None

    def close(self) -> None:
        """Free what is native."""
        self.sampler.close()
        self.prompt.close()
        self.embeddings = None
