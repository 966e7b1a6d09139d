"""What Prometheus scrapes at `/metrics`. Labels come from closed sets: routes, verdict codes, model names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry a gateway, so that two gateways in one process do not share counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.images = Counter(
            "signet_images", "Images that went through the network", ("model",), registry=self.registry
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
