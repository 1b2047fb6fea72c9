"""Classes of an image, by the probabilities that the model itself gives to their names.

Nothing is generated. Each label is scored as the whole answer to one question about the image, over the same cells of
the prompt; a label's probability is the sum over the ways in which models write it ("red", "Red", "Red."). Dividing by
what the model says of an image without content is contextual calibration (Zhao et al. 2021, "Calibrate Before Use").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import UsageError
from ggufvlm.media import Image, ImageSource, load_single

if TYPE_CHECKING:
    from ggufvlm.vlm.examples import Example
    from ggufvlm.vlm.score import AnswerScore
    from ggufvlm.vlm.vlm import VLM

PROMPT = "Which of these describes the image best: {labels}? Answer with one of them, nothing else."
MULTI_PROMPT = "Is this true of the image: {label}? Answer yes or no."
_GREY = b"\x80\x80\x80"
_YES, _NO = ("Yes", "yes"), ("No", "no")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyParams:
    """How images are classified.

    Attributes:
        labels: names of the classes.
        prompt: the question; ``{labels}`` in it stands for all labels, ``{label}`` (several classes) for one.
        multi: several classes may hold: a question with yes or no for each label.
        per_token: a label's log-probability is divided by its tokens, so that long labels are not behind.
        exact: a label is only scored as it is written, not capitalised or with a full stop.
        calibrate: divide by the probabilities for a grey image: takes away what the model prefers anyway.
        system: a system message.
        examples: images with their label, or with several labels separated by commas, shown before each question.
    """

    labels: tuple[str, ...]
    prompt: str | None = None
    multi: bool = False
    per_token: bool = False
    exact: bool = False
    calibrate: bool = False
    system: str | None = None
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        wanted = 1 if self.multi else 2
        if len(self.labels) < wanted:
            raise UsageError(f"classes are told apart by {wanted} labels or more", hint="--labels cat,dog,bird")
        if not all(label.strip() for label in self.labels):
            raise UsageError("a label must not be empty")
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise UsageError(f"the label {twice[0]!r} is given twice")
        if self.multi and self.prompt is not None and "{label}" not in self.prompt:
            raise UsageError(
                "with several classes the question has to name the label", hint='-p "Is there a {label} in the image?"'
            )

        for example in self.examples:
            unknown = [given for given in labels_of(example) if given not in self.labels]
            if unknown or (not self.multi and len(labels_of(example)) != 1):
                raise UsageError(
                    f"{example.image.source}: an example's answer is one of the labels, not {example.answer!r:.80}",
                    hint=f"the labels are {', '.join(self.labels)}",
                )

    def examples_of(self, label: str | None) -> list[Example]:
        """The examples for a question: with their labels, or whether a label holds."""
        if label is None:
            return list(self.examples)
        return [replace(example, answer="Yes" if label in labels_of(example) else "No") for example in self.examples]

    def question(self, label: str | None = None) -> str:
        """The text that is asked."""
        prompt = self.prompt or (MULTI_PROMPT if self.multi else PROMPT)
        return prompt.replace("{labels}", ", ".join(self.labels)).replace("{label}", label or "")

    @property
    def n_answers(self) -> int:
        """Answers that are scored for one question."""
        if self.multi:
            return len(_all_forms(_YES, exact=self.exact)) + len(_all_forms(_NO, exact=self.exact))
        return sum(len(forms(label, exact=self.exact)) for label in self.labels)


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """One class. With several classes the probabilities need not sum to 1."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """The classes of an image.

    Attributes:
        source: what the user gave.
        classes: the most probable first.
        coverage: how probable it was that the model, left alone, would have answered with one of the labels: if it is
            near 0, the question or the labels do not suit the model. The mean over the labels with several classes.
    """

    source: str
    classes: tuple[ClassProbability, ...]
    coverage: float

    @property
    def best(self) -> ClassProbability:
        """The most probable class."""
        return self.classes[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "source": self.source,
            "label": self.best.label,
            "probabilities": {item.label: item.probability for item in self.classes},
            "coverage": self.coverage,
        }


def labels_of(example: Example) -> list[str]:
    """The labels that an example names."""
    return [label.strip() for label in example.answer.split(",") if label.strip()]


def classify(vlm: VLM, image: ImageSource, params: ClassifyParams | Sequence[str]) -> Classification:
    """Classify one image.

    >>> found = classify(VLM.load("demo"), "blocks.png", ["a blue column", "a yellow circle"])
    >>> print(f"{found.best.label}: {found.best.probability:.0%}")
    a blue column: 100%

    Args:
        vlm: as many labels are scored at a time as it has slots.
        image: what :meth:`VLM.describe <ggufvlm.VLM.describe>` takes.
        params: how; labels alone take the defaults.

    Raises:
        ImageError: the image cannot be read.
        UsageError: too few labels, or an empty one.
        ContextOverflow, EngineError: as :meth:`VLM.describe <ggufvlm.VLM.describe>`.
    """
    image = load_single(image)
    if not isinstance(params, ClassifyParams):
        params = ClassifyParams(labels=tuple(params))
    blank = _blank(image) if params.calibrate else None
    if params.multi:
        found = [_yes_or_no(vlm, image, blank, params, label) for label in params.labels]
        probabilities, coverage = [p for p, _ in found], sum(c for _, c in found) / len(found)
    else:
        groups = [forms(label, exact=params.exact) for label in params.labels]
        probabilities, coverage = _shares(vlm, image, blank, None, groups, params)
    classes = [ClassProbability(label, p) for label, p in zip(params.labels, probabilities, strict=True)]
    return Classification(
        source=image.source,
        classes=tuple(sorted(classes, key=lambda item: -item.probability)),
        coverage=coverage,
    )


def forms(label: str, *, exact: bool) -> tuple[str, ...]:
    """The ways in which a model may write a label."""
    if exact:
        return (label,)
    spellings = [label, label[0].upper() + label[1:]]
    ends = ("",) if label.endswith((".", "!", "?")) else ("", ".")
    return tuple(dict.fromkeys(spelling + end for spelling in spellings for end in ends))


def _all_forms(words: Iterable[str], *, exact: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for word in words for form in forms(word, exact=exact)))


def _yes_or_no(vlm: VLM, image: Image, blank: Image | None, params: ClassifyParams, label: str) -> tuple[float, float]:
    groups = [_all_forms(_YES, exact=params.exact), _all_forms(_NO, exact=params.exact)]
    shares, coverage = _shares(vlm, image, blank, label, groups, params)
    return shares[0], coverage


def _shares(
    vlm: VLM,
    image: Image,
    blank: Image | None,
    label: str | None,
    groups: Sequence[Sequence[str]],
    params: ClassifyParams,
) -> tuple[list[float], float]:
    """The share of each group of answers, and the probability of all of them together."""
    scores = _score(vlm, image, label, groups, params)
    logs = [_total(group, per_token=params.per_token) for group in scores]
    coverage = min(1.0, sum(math.exp(_total(group, per_token=False)) for group in scores))
    if blank is not None:
        empty = _score(vlm, blank, label, groups, params)
        logs = [log - _total(group, per_token=params.per_token) for log, group in zip(logs, empty, strict=True)]
    return softmax(logs), coverage


def _score(
    vlm: VLM, image: Image, label: str | None, groups: Sequence[Sequence[str]], params: ClassifyParams
) -> list[list[AnswerScore]]:
    from ggufvlm.vlm.examples import with_examples
    from ggufvlm.vlm.request import question

    asked = question([image], params.question(label), params.system)
    dialogue = with_examples(asked, params.examples_of(label))
    scores = iter(vlm.score(dialogue, [answer for group in groups for answer in group]))
    return [[next(scores) for _ in group] for group in groups]


def _total(scores: Sequence[AnswerScore], *, per_token: bool) -> float:
    """Logarithm of the probability that one of some answers is given."""
    logs = [score.logprob / score.n_tokens if per_token else score.logprob for score in scores]
    highest = max(logs)
    return highest + math.log(sum(math.exp(log - highest) for log in logs))


def softmax(logs: Sequence[float]) -> list[float]:
    """Probabilities that are proportional to ``exp(logs)``."""
    highest = max(logs)
    weights = [math.exp(log - highest) for log in logs]
    return [weight / sum(weights) for weight in weights]


def _blank(image: Image) -> Image:
    return Image.from_rgb(image.width, image.height, _GREY * (image.width * image.height), "grey image")
