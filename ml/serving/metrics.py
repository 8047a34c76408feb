"""What Prometheus reads of serve."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ml.serving.live import Places
from ml.serving.tally import Calls, Histogram


class Metrics(Collector):
    """`looked_at` gives when the look-out looked last; None when that cannot be known."""

    def __init__(self, places: Places, calls: Calls, looked_at: Callable[[], datetime | None]) -> None:
        self.places, self.calls, self.looked_at = places, calls, looked_at
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Blocking: asks Postgres for one row."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        yield from self.of_calls()
        yield from self.of_workers()
        yield from self.of_releases()
        looked = GaugeMetricFamily(
            "slipway_seconds_since_last_look", "Since the look-out looked for something to build last"
        )
        if (at := self.looked_at()) is not None:
            looked.add_metric([], (datetime.now(UTC) - at).total_seconds())
        yield looked

    def of_calls(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "slipway_requests", "Prediction calls answered", labels=["model", "call", "status"]
        )
        for (model, call, status), count in list(self.calls.answered.items()):
            requests.add_metric([model, call, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "slipway_request_seconds", "From a call's head to its answer", labels=["model", "call"]
        )
        for labels, histogram in list(self.calls.latency.items()):
            add(seconds, list(labels), histogram)
        yield seconds

    def of_workers(self) -> Iterator[Metric]:
        rows = HistogramMetricFamily("slipway_batch_rows", "Rows given to a worker at once", labels=["model"])
        restarts = CounterMetricFamily("slipway_worker_restarts", "Workers replaced", labels=["model"])
        workers = GaugeMetricFamily("slipway_workers", "Workers of the live release", labels=["model"])
        waiting = GaugeMetricFamily("slipway_requests_waiting", "Rows that wait for one", labels=["model"])
        held = GaugeMetricFamily("slipway_requests_in_flight", "Rows that workers hold", labels=["model"])
        for name, place in self.places.by_model.items():
            add(rows, [name], place.work.frames)
            restarts.add_metric([name], place.work.restarts)
            pool = place.live.pool if place.live else None
            workers.add_metric([name], len(pool.workers) if pool else 0)
            waiting.add_metric([name], len(pool.waiting) if pool else 0)
            held.add_metric([name], sum(len(worker.held) for worker in list(pool.workers)) if pool else 0)
        yield from (rows, restarts, workers, waiting, held)

    def of_releases(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("slipway_live_release", "The live release's number, or 0", labels=["model"])
        since = GaugeMetricFamily(
            "slipway_live_since_timestamp_seconds", "When it went live", labels=["model"]
        )
        info = InfoMetricFamily("slipway_live", "The live release", labels=["model"])
        for name, place in self.places.by_model.items():
            live.add_metric([name], place.live.release.id if place.live else 0)
            if place.live is not None:
                since.add_metric([name], place.live.since.timestamp())
                commit = place.live.release.commit
                info.add_metric([name], {"release": str(place.live.release.id), "commit": commit})
        yield from (live, since, info)


def add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    total, buckets = 0, []
    for bound, count in zip((*histogram.bounds, float("inf")), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    family.add_metric(labels, buckets, histogram.sum)
