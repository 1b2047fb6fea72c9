"""``pipeline("image-text-to-text")`` as Transformers has it, for code that moves over by changing the import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.vlm.vlm import VLM

TASK = "image-text-to-text"
_SAMPLING_NAMES = {
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}


class ImageTextToTextPipeline:
    """Call it with messages, or with a text and images; it returns what Transformers' pipeline returns."""

    task = TASK

    def __init__(self, vlm: VLM) -> None:
        self.model = vlm

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *,
        return_full_text: bool = True,
        generate_kwargs: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        """Answer one dialogue, or a list of dialogues.

        Args:
            images: images for image entries that name none, or for a plain ``text``.
            text: messages in the Hub's chat format (a list of them for several answers), or a plain question.
            return_full_text: put the answer behind the input; False returns the new text alone.
            generate_kwargs, settings: ``max_new_tokens``, ``do_sample``, ``temperature``, ``top_k``, ``top_p``,
                ``min_p``, ``repetition_penalty``, ``stop_strings``.

        Returns:
            ``[{"input_text": ..., "generated_text": ...}]``; for several dialogues a list of such lists.
        """
        if text is None and _is_dialogue(images):
            images, text = None, images
        sampling = _sampling({**(generate_kwargs or {}), **settings})
        if isinstance(text, (list, tuple)) and text and not isinstance(text[0], Mapping):
            begun = [self._begin(item, images, return_full_text, sampling) for item in text]
            return [finish() for finish in begun]
        return self._begin(text, images, return_full_text, sampling)()

    def _begin(
        self, text: Any, images: Any, full: bool, sampling: dict[str, Any]
    ) -> Callable[[], list[dict[str, Any]]]:
        """Queue a dialogue; what comes back waits for its answer. So several are answered at a time."""
        spare = list(images) if isinstance(images, (list, tuple)) else [images] if images is not None else []
        if isinstance(text, str):
            content = [*({"type": "image"} for _ in spare), {"type": "text", "text": text}]
            messages: Sequence[Mapping[str, Any]] = [{"role": "user", "content": content}]
        elif _is_dialogue(text):
            messages = text
        else:
            raise UsageError("the pipeline takes messages, or a text and images")
        stream = self.model.stream(messages, images=spare, **sampling)

        def finish() -> list[dict[str, Any]]:
            new = stream.answer.text
            if not full:
                return [{"input_text": text, "generated_text": new}]
            whole = text + new if isinstance(text, str) else _continued(messages, new)
            return [{"input_text": text, "generated_text": whole}]

        return finish


def _is_dialogue(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Mapping)


def _continued(messages: Sequence[Mapping[str, Any]], new: str) -> list[Mapping[str, Any]]:
    last = messages[-1]
    if last["role"] != "assistant":
        return [*messages, {"role": "assistant", "content": new}]
    content = last["content"]
    grown = (
        content + new
        if isinstance(content, str)
        else [*content[:-1], {**content[-1], "text": content[-1]["text"] + new}]
    )
    return [*messages[:-1], {**last, "content": grown}]


def _sampling(settings: dict[str, Any]) -> dict[str, Any]:
    sampling: dict[str, Any] = {}
    samples = settings.pop("do_sample", None)
    stop = settings.pop("stop_strings", None)
    for name, value in settings.items():
        if name not in _SAMPLING_NAMES:
            raise UsageError(f"the pipeline does not know {name!r}", hint=f"known: {', '.join(_SAMPLING_NAMES)}")
        sampling[_SAMPLING_NAMES[name]] = value
    if samples is False:
        sampling["temperature"] = 0.0
    if stop:
        sampling["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return sampling


def pipeline(
    task: str = TASK,
    model: str | None = None,
    *,
    mmproj: str | None = None,
    batch_size: int = 1,
    config: EngineConfig | None = None,
) -> ImageTextToTextPipeline:
    """A pipeline with a model loaded.

    >>> ask = pipeline("image-text-to-text", model="demo")
    >>> ask("blocks.png", text="What is on the left?", return_full_text=False)
    [{'input_text': 'What is on the left?', 'generated_text': 'The blue column.'}]

    Args:
        task: "image-text-to-text", the only one.
        model, mmproj, config: see :meth:`ggufvlm.VLM.load`.
        batch_size: dialogues that are answered at the same time, when several are given.

    Returns:
        A function that takes what Transformers' pipeline takes.

    Raises:
        UsageError: another task.
        ModelError, EngineError: see :meth:`ggufvlm.VLM.load`.
    """
    if task != TASK:
        raise UsageError(f"this pipeline does {TASK!r}, not {task!r}")
    if config is None:
        config = EngineConfig(n_slots=batch_size, priority="throughput")
    return ImageTextToTextPipeline(VLM.load(model, mmproj, config=config))
