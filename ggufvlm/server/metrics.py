"""Numbers for Prometheus, in its text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from ggufvlm.vlm.answer import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

Labels = tuple[str, ...]


class Counter:
    """A number for each combination of labels; it only grows."""

    kind = "counter"

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name = name
        self.help = help
        self._labels = labels
        self._values: dict[Labels, float] = {}

    def add(self, n: float, *values: str) -> None:
        """Count ``n`` more for these values of the labels."""
        self._values[values] = self._values.get(values, 0.0) + n

    def lines(self) -> Iterator[str]:
        """The samples."""
        for values, number in sorted(self._values.items()):
            yield f"{self.name}{_braces(zip(self._labels, values, strict=True))} {_number(number)}"


class Gauge:
    """A number for each value of one label, asked for when it is wanted."""

    kind = "gauge"

    def __init__(self, name: str, help: str, label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        self.name = name
        self.help = help
        self._label = label
        self._read = read

    def lines(self) -> Iterator[str]:
        """The samples."""
        for value, number in self._read():
            yield f"{self.name}{_braces([(self._label, value)])} {_number(number)}"


class Histogram:
    """Seconds, by buckets, for each value of one label."""

    kind = "histogram"

    def __init__(self, name: str, help: str, label: str) -> None:
        self.name = name
        self.help = help
        self._label = label
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, seconds: float, value: str) -> None:
        """Count one."""
        counts = self._counts.setdefault(value, [0] * (len(_SECONDS) + 1))
        counts[bisect_left(_SECONDS, seconds)] += 1
        self._sums[value] = self._sums.get(value, 0.0) + seconds

    def lines(self) -> Iterator[str]:
        """The samples: buckets count what is at most their bound, smaller ones included."""
        for value, counts in sorted(self._counts.items()):
            total = 0
            for bound, count in zip((*map(_number, _SECONDS), "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_braces([(self._label, value), ('le', bound)])} {total}"
            yield f"{self.name}_sum{_braces([(self._label, value)])} {_number(self._sums[value])}"
            yield f"{self.name}_count{_braces([(self._label, value)])} {total}"


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        self.requests = Counter("ggufvlm_requests_total", "Requests by route and HTTP status.", "route", "status")
        self.hangups = Counter("ggufvlm_hangups_total", "Clients that left before the end of their answer.", "route")
        self.crashes = Counter("ggufvlm_engine_crashes_total", "Times a model's process ended by itself.", "model")
        self.loads = Counter("ggufvlm_model_loads_total", "Times a model was loaded.", "model")
        self._ends = Counter("ggufvlm_answers_total", "Answers by why they ended.", "model", "finish_reason")
        self._prompt = Counter("ggufvlm_prompt_tokens_total", "Tokens of prompts, images included.", "model")
        self._cached = Counter("ggufvlm_cached_tokens_total", "Prompt tokens that were known already.", "model")
        self._generated = Counter("ggufvlm_generated_tokens_total", "Tokens of answers.", "model")
        self._encoded = Counter("ggufvlm_images_encoded_total", "Image pieces that were encoded.", "model")
        self._recalled = Counter("ggufvlm_images_recalled_total", "Image pieces that were known already.", "model")
        self._first = Histogram("ggufvlm_first_token_seconds", "From the question to its first token.", "model")
        self._whole = Histogram("ggufvlm_answer_seconds", "From the question to the end of its answer.", "model")
        self._gauges: list[Gauge] = []

    def add_gauge(self, name: str, help: str, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Show a number of each model."""
        self._gauges.append(Gauge(name, help, "model", read))

    def count_answer(self, model: str, answer: Answer) -> None:
        """Count an answer, complete or aborted."""
        usage = answer.usage
        self._ends.add(1, model, answer.finish_reason)
        self._prompt.add(usage.n_prompt, model)
        self._cached.add(usage.n_cached, model)
        self._generated.add(usage.n_generated, model)
        self._encoded.add(usage.n_images_encoded, model)
        self._recalled.add(usage.n_images_recalled, model)

    def count_times(self, model: str, first: float | None, seconds: float) -> None:
        """Count a complete answer: seconds from the question to its first text, if there was any, and to its end."""
        self._whole.add(seconds, model)
        if first is not None:
            self._first.add(first, model)

    def text(self) -> str:
        """All of it."""
        everything = [found for found in vars(self).values() if isinstance(found, Counter | Histogram)]
        lines: list[str] = []
        for metric in (*everything, *self._gauges):
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
