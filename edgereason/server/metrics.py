"""Prometheus figures: counted once a request, and read from the core when somebody asks.

Nothing here happens per token.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgereason.records import Answer, Channel

if TYPE_CHECKING:
    from edgereason.server.running import Running
    from edgereason.server.service import Service

_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)

_OF_CORE: Final = {  # counters of `Reasoner.stats()` -> what they are
    "num_active": "sequences that run",
    "num_waiting": "sequences that wait for KV",
    "num_parked": "conversations that are kept",
    "num_free_cells": "KV cells that are free",
    "num_threads": "compute threads",
    "num_steps": "decode calls so far",
    "num_rows": "rows decoded so far",
    "num_sampled": "tokens sampled so far",
    "longest_ms": "longest step so far",
    "step_ms": "expected time of a step of one row",
    "load": "how much slower steps are than on an idle machine",
}


class Metrics(Collector):
    """The figures of one server, in a registry of its own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._requests = self._counter("requests", "Requests by route and end", "route", "outcome")
        self._tokens = self._counter("tokens", "Tokens by kind", "kind")
        self._thinking = self._counter("thinking_ended", "Why thinking ended", "by")
        self._deadlines = self._counter("deadlines", "Answers with a deadline", "met")
        self._joules = self._counter("joules", "Energy of answers by meter", "meter")
        self._total = self._histogram("request_seconds", "From arrival to the end of the answer")
        self._queue = self._histogram("queue_seconds", "Until the first row was decoded")
        self._first = self._histogram("first_token_seconds", "Until the first text")
        self._first_answer = self._histogram(
            "first_answer_token_seconds", "Until the first text of the answer"
        )

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"edgereason_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"edgereason_{name}", help, buckets=_SECONDS, registry=self.registry)

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def refused(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()

    def ended(self, running: Running, answer: Answer) -> None:
        self._requests.labels(running.route, running.dropped or "answered").inc()
        usage, budget = answer.usage, answer.budget
        for kind, num in (
            ("prompt", usage.prompt_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
            ("answer", usage.answer_tokens),
        ):
            self._tokens.labels(kind).inc(num)
        self._thinking.labels(budget.think_tokens.ended_by).inc()
        if budget.deadline_ms.asked is not None:
            self._deadlines.labels(str(budget.deadline_ms.late_ms == 0).lower()).inc()
        if answer.energy is not None:
            self._joules.labels(answer.energy.meter).inc(answer.energy.joules)
        self._total.observe(running.age_ms / 1000)
        self._queue.observe(answer.timings.queue_ms / 1000)

    def first_text(self, channel: Channel, ms: float, *, is_first: bool) -> None:
        """The first text of a channel; `is_first`: of the request."""
        if is_first:
            self._first.observe(ms / 1000)
        if channel is Channel.ANSWER:
            self._first_answer.observe(ms / 1000)

    def collect(self) -> Iterator[Metric]:
        """Called when the page is read."""
        admitted = GaugeMetricFamily("edgereason_requests_running", "Requests that run or wait")
        admitted.add_metric([], self._service.num_admitted)
        yield admitted
        stats = core_stats(self._service)
        for name, help in _OF_CORE.items():
            family = GaugeMetricFamily(f"edgereason_core_{name}", help, labels=["model"])
            for model, figures in stats.items():
                family.add_metric([model], figures[name])
            yield family


def core_stats(service: Service) -> dict[str, dict[str, Any]]:
    """Of each model that is open."""
    return {m.name: m.reasoner.stats() for m in service.models if m.reasoner is not None}
