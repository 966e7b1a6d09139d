"""What `/v2`'s statistics say, as Prometheus has it, and what is in memory: read when somebody looks, so that it costs
no request anything."""

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.control.book import Book
from service.inference.engine import Engine
from service.inference.statistics import LEGS, Statistics

_OF = ("model", "version")


class InferenceCollector(Collector):
    """Of all versions, in this process since it started."""

    def __init__(self, book: Book, statistics: Statistics, engine: Engine) -> None:
        self._book = book
        self._statistics = statistics
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Requests by outcome, their seconds by leg, images, batches; bytes in memory, by engine."""
        requests = CounterMetricFamily("signet_inference_requests", "Predictions", labels=(*_OF, "outcome"))
        seconds = CounterMetricFamily("signet_inference_seconds", "Where their time went", labels=(*_OF, "leg"))
        images = CounterMetricFamily("signet_inference_images", "Images that went through the network", labels=_OF)
        batches = CounterMetricFamily("signet_inference_batches", "Batches of them", labels=_OF)
        loaded = GaugeMetricFamily("signet_loaded_bytes", "Versions in memory", labels=(*_OF, "engine"))
        for version in self._book.versions.values():
            found, of = self._statistics.of(version.id), (version.model_name, str(version.number))
            requests.add_metric((*of, "success"), found.success.count)
            requests.add_metric((*of, "failure"), found.fail.count)
            for leg in LEGS:
                seconds.add_metric((*of, leg), getattr(found, leg).ns / 1e9)
            images.add_metric(of, found.inferences)
            batches.add_metric(of, found.executions)
            if (kept := self._engine.in_memory(version)) is not None:
                loaded.add_metric((*of, kept.engine), kept.nbytes)
        return requests, seconds, images, batches, loaded
