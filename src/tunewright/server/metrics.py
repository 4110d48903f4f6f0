"""What Prometheus is told: requests as they end, and the server's state when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from tunewright.server.account import Answered

MOST_MODELS = 200  # told apart by name; further ones are told together
OTHERS = "(others)"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
Gauges = Callable[[], Mapping[tuple[str, str, str], Mapping[str, float]]]
"""(name, help, what its label is called) -> value by label; "" and "" where it has none."""

disable_created_metrics()  # a second series for each, of when it began


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tunewright_requests", "Requests answered", ["method", "route", "status", "model"], registry=self.registry
        )
        self.seconds = Histogram(
            "tunewright_request_seconds",
            "Time to the end of an answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "tunewright_first_token_seconds",
            "Time to the first text",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter("tunewright_tokens", "Tokens by kind", ["kind", "model"], registry=self.registry)
        self.hits = Counter(
            "tunewright_prefix_hits", "Requests whose prompt began as an earlier one", ["model"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._models: set[str] = set()

    def watch(self, gauges: Gauges) -> None:
        """Tell these when asked."""
        self.registry.register(_State(gauges))

    def count(self, answered: Answered) -> None:
        """Take a request that is over into account."""
        account, model = answered.account, self._named(answered.account.model)
        status = str(answered.status or "gone")
        # a path or a method that the server does not know would be a label of the client's making
        method = answered.method if answered.route else ""
        self.requests.labels(method, answered.route, status, model).inc()
        self.seconds.labels(answered.route).observe(answered.seconds)
        if not account.model:
            return
        if account.first_token_seconds is not None:
            self.first_token.labels(model).observe(account.first_token_seconds)
        for kind in ("prompt", "cached", "completion"):
            self.tokens.labels(kind, model).inc(getattr(account, f"{kind}_tokens"))
        if account.cached_tokens:
            self.hits.labels(model).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def _named(self, model: str) -> str:
        if model and model not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHERS
            self._models.add(model)
        return model


class _State:
    """Asks for the gauges at each scrape."""

    def __init__(self, gauges: Gauges) -> None:
        self.gauges = gauges

    def describe(self) -> list[Metric]:
        """Nothing is asked while it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges of now."""
        for (name, what, label), values in self.gauges().items():
            family = GaugeMetricFamily(f"tunewright_{name}", what, labels=[label] if label else [])
            for of, value in values.items():
                family.add_metric([of] if label else [], value)
            yield family
