"""What Prometheus scrapes at `/metrics`. Labels come from closed sets: routes, verdict codes, model names."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry a gateway, so that two gateways in one process do not share counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], Any] = {}
        self.requests = Counter(
            "signet_http_requests", "Requests by route and status", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "signet_http_seconds", "Seconds from request to answer", ("route",), registry=self.registry
        )
        self.verdicts = Counter(
            "signet_verdicts",
            "Verdicts by model, operation and code",
            ("model", "operation", "code"),
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "signet_batch_rows", "Rows of a forward pass", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.queued = Gauge("signet_queued_requests", "Requests waiting for the network", registry=self.registry)
        self.drift = Counter(
            "signet_fingerprint_drift", "Genuine fingerprints whose output moved", ("model",), registry=self.registry
        )
        self.released = Counter(
            "signet_released_units", "Reserved but unanswered units given back", registry=self.registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._child(self.requests, route, status).inc()
        self._child(self.seconds, route).observe(seconds)

    def verdict(self, model: str, operation: str, code: str) -> None:
        """A request was judged."""
        self._child(self.verdicts, model, operation, code).inc()

    def _child(self, metric: Any, *labels: object) -> Any:
        """`metric.labels(...)`, which takes longer than counting does, once for each of the closed set."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child
