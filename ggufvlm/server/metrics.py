"""Numbers for Prometheus. The only importer of prometheus_client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from ggufvlm.vlm.answer import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

GaugeReader = Callable[[], Iterable[tuple[str, float]]]
"""Gives a number for each model, by its name."""


class Metrics:
    """What is counted of one server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, which nobody asked for
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by route and HTTP status.", "route", "status")
        self.hangups = self._counter("hangups", "Clients that left before the end of their answer.", "route")
        self.crashes = self._counter("engine_crashes", "Times a model's process ended by itself.", "model")
        self.loads = self._counter("model_loads", "Times a model was loaded.", "model")
        self._ends = self._counter("answers", "Answers by why they ended.", "model", "finish_reason")
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts, images included.", "model")
        self._cached = self._counter("cached_tokens", "Prompt tokens that were known already.", "model")
        self._generated = self._counter("generated_tokens", "Tokens of answers.", "model")
        self._encoded = self._counter("images_encoded", "Image pieces that were encoded.", "model")
        self._recalled = self._counter("images_recalled", "Image pieces that were known already.", "model")
        self._first = self._histogram("first_token_seconds", "From the question to its first token.")
        self._whole = self._histogram("answer_seconds", "From the question to the end of its answer.")

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"ggufvlm_{name}", help, labels, registry=self._registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"ggufvlm_{name}", help, ("model",), registry=self._registry, buckets=_SECONDS)

    def add_gauge(self, name: str, help: str, read: GaugeReader) -> None:
        """Show a number of each model, asked for when it is wanted.

        Args:
            name: of the metric.
            help: a sentence about it.
            read: gives the numbers.
        """
        self._registry.register(_Gauge(name, help, read))

    def count_answer(self, model: str, answer: Answer) -> None:
        """Count an answer, complete or aborted."""
        usage = answer.usage
        self._ends.labels(model, answer.finish_reason).inc()
        self._prompt.labels(model).inc(usage.n_prompt)
        self._cached.labels(model).inc(usage.n_cached)
        self._generated.labels(model).inc(usage.n_generated)
        self._encoded.labels(model).inc(usage.n_images_encoded)
        self._recalled.labels(model).inc(usage.n_images_recalled)

    def count_times(self, model: str, first: float | None, seconds: float) -> None:
        """Count a complete answer.

        Args:
            model: its name.
            first: seconds from the question to its first text, if there was any.
            seconds: to its end.
        """
        self._whole.labels(model).observe(seconds)
        if first is not None:
            self._first.labels(model).observe(first)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)


class _Gauge:
    """A collector as prometheus_client asks for it."""

    def __init__(self, name: str, help: str, read: GaugeReader) -> None:
        self._name, self._help, self._read = name, help, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._help, labels=["model"])
        for model, number in self._read():
            family.add_metric([model], number)
        yield family

    def describe(self) -> list[GaugeMetricFamily]:
        """Keeps the registry from reading the numbers when the collector is registered."""
        return [GaugeMetricFamily(self._name, self._help, labels=["model"])]
