"""What Prometheus is told: requests as they end, and the server's state when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from tunewright.server.account import Answered

MOST_MODELS = 200  # told apart by name; further ones are told together
OTHERS = "(others)"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
Gauges = Callable[[], Mapping[tuple[str, str], Mapping[str, float]]]
"""(name, help) -> value by label; the label "" stands for none."""


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
        for (name, what), values in self.gauges().items():
            labelled = set(values) != {""}
            family = GaugeMetricFamily(f"tunewright_{name}", what, labels=["state"] if labelled else [])
            for label, value in values.items():
                family.add_metric([label] if labelled else [], value)
            yield family
