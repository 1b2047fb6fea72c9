"""``pipeline("image-text-to-text")`` as Transformers has it, for code that moves over by changing the import."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.vlm.transformers_messages import (
    Dialogue,
    continues_last,
    is_dialogue,
    read_dialogue,
    with_answer,
    with_downloads,
)
from ggufvlm.vlm.transformers_settings import gguf_name, placed, sampling_settings
from ggufvlm.vlm.vlm import VLM

TASK = "image-text-to-text"
_Row: TypeAlias = "dict[str, Any]"


class ImageTextToTextPipeline:
    """Call it with messages, or with a text and images; it returns what Transformers' pipeline returns.

    Attributes:
        model: answers.
    """

    task = TASK

    def __init__(self, vlm: VLM, *, batch_size: int = 1, settings: Mapping[str, Any] | None = None) -> None:
        self.model = vlm
        self._batch_size = batch_size
        self._settings = dict(settings or {})

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *,
        return_full_text: bool = True,
        generate_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        **settings: Any,
    ) -> Any:
        """Answer one dialogue, or a list of dialogues.

        Args:
            images: for image entries that name none, in order; for a plain ``text``, which sees all of them; for a
                list of texts or dialogues, one each (or a list of its own each).
            text: messages in the Hub's chat format, or a plain question; or a list of either.
            return_full_text: put the answer behind the input; False returns the new text alone.
            continue_final_message: whether the answer continues the last message, if that is the assistant's, as it
                does by default, or is a new one.
            batch_size: questions that are in flight at a time.
            timeout: seconds that the download of one image may take.
            generate_kwargs, settings: ``max_new_tokens``, ``do_sample``, ``temperature``, ``top_k``, ``top_p``,
                ``min_p``, ``repetition_penalty``, ``stop_strings``; ``num_beams=1``.

        Returns:
            ``[{"input_text": ..., "generated_text": ...}]``: one for each text; for several dialogues a list of such
            lists.

        Raises:
            UsageError: an option without a meaning here, or images and texts that do not pair.
        """
        if text is None and is_dialogue(images):
            images, text = None, images
        given = {**self._settings, **(generate_kwargs or {}), **settings}
        sampling = sampling_settings(given, is_greedy=self.model.sampling.temperature == 0)

        def begin(item: Any, own: Any) -> Callable[[], _Row]:
            dialogue = read_dialogue(item, _as_list(own))
            continues = continues_last(dialogue, continue_final_message)
            return self._begin(item, dialogue, continues, timeout, sampling, full=return_full_text)

        if not isinstance(text, (list, tuple)) or is_dialogue(text):
            return [begin(text, images)()]
        pairs = zip(text, _paired(images, len(text)), strict=True)
        begun = (begin(item, own) for item, own in pairs)
        rows = _in_flight(begun, 2 * (batch_size or self._batch_size))
        return rows if isinstance(text[0], str) else [[row] for row in rows]

    def _begin(
        self,
        item: Any,
        dialogue: Dialogue,
        continues: bool,
        timeout: float | None,
        sampling: dict[str, Any],
        *,
        full: bool,
    ) -> Callable[[], _Row]:
        """Queue a dialogue; what comes back waits for its answer. So several are answered at a time."""
        wanted = dialogue if timeout is None else with_downloads(dialogue, timeout)
        pending = self.model.submit(self.model.build_request(wanted, continues=continues, **sampling))

        def finish() -> _Row:
            for _ in pending.ticket:
                pass
            new = pending.finish().text
            if isinstance(item, str):
                return {"input_text": item, "generated_text": item + new if full else new}
            return {
                "input_text": dialogue,
                "generated_text": with_answer(dialogue, new, continues=continues) if full else new,
            }

        return finish


def _as_list(own: Any) -> list[Any]:
    return list(own) if isinstance(own, (list, tuple)) else [own] if own is not None else []


def _paired(images: Any, n_texts: int) -> list[Any]:
    """The images of each of several texts.

    Raises:
        UsageError: there are more or fewer.
    """
    if not isinstance(images, (list, tuple)):
        return [images] * n_texts
    if len(images) != n_texts:
        raise UsageError(
            f"{n_texts} texts and {len(images)} images: they are paired one to one",
            hint="a list of lists gives a text several images",
        )
    return list(images)


def _in_flight(begun: Iterator[Callable[[], _Row]], n_ahead: int) -> list[_Row]:
    """What the questions return, in order; so many are begun before the first is waited for."""
    rows: list[_Row] = []
    waiting: deque[Callable[[], _Row]] = deque()
    for finish in begun:
        waiting.append(finish)
        if len(waiting) >= n_ahead:
            rows.append(waiting.popleft()())
    return [*rows, *(finish() for finish in waiting)]


def pipeline(
    task: str | None = TASK,
    model: str | VLM | None = None,
    *,
    mmproj: str | None = None,
    batch_size: int = 1,
    config: EngineConfig | None = None,
    device: Any = None,
    device_map: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    **settings: Any,
) -> ImageTextToTextPipeline:
    """A pipeline with a model loaded.

    >>> ask = pipeline("image-text-to-text", model="demo")
    >>> ask("blocks.png", text="What is on the left?", return_full_text=False)
    [{'input_text': 'What is on the left?', 'generated_text': 'The blue column.'}]

    Args:
        task: "image-text-to-text", the only one.
        model, mmproj, config: see :meth:`ggufvlm.VLM.load`. The name of a repository with weights for Transformers
            stands for the same model as GGUF, where the registry has it; a :class:`~ggufvlm.VLM` is taken as it is.
        batch_size: dialogues that are answered at the same time, when several are given.
        device, device_map: "cpu", "cuda" or "auto"; -1 is the CPU, 0 the GPU.
        dtype, torch_dtype: without effect: the types are those of the file.
        settings: for all calls, see :class:`ImageTextToTextPipeline`.

    Returns:
        A function that takes what Transformers' pipeline takes.

    Raises:
        UsageError: another task, or an option without a meaning here.
        ModelError, EngineError: see :meth:`ggufvlm.VLM.load`.
    """
    if task not in (None, TASK):
        raise UsageError(f"this pipeline does {TASK!r}, not {task!r}")
    del dtype, torch_dtype
    sampling_settings(settings, is_greedy=True)
    chosen = placed(config or EngineConfig(n_slots=batch_size, priority="throughput"), device, device_map)
    vlm = model if isinstance(model, VLM) else VLM.load(gguf_name(model) if model else None, mmproj, config=chosen)
    return ImageTextToTextPipeline(vlm, batch_size=batch_size, settings=settings)
