"""The Prometheus metrics of serve."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from db.retraining_models import RetrainingPlan
from ml.serving.counters import Histogram, RequestStats
from ml.serving.registry import ModelRegistry
from ml.serving.request_log.log import RequestLog


class ServingMetrics(Collector):
    """The collector of serve's metrics; `read_heartbeat_age` returns the seconds since the controller's
    last poll, None when that cannot be read; `read_plans` what is planned of the models' retraining.
    """

    def __init__(
        self,
        model_registry: ModelRegistry,
        stats: RequestStats,
        request_log: RequestLog,
        read_heartbeat_age: Callable[[], float | None],
        read_plans: Callable[[], Sequence[RetrainingPlan]],
    ) -> None:
        self.model_registry, self.stats, self.request_log = model_registry, stats, request_log
        self.read_heartbeat_age = read_heartbeat_age
        self.read_plans = read_plans
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """Render the metrics; blocking: reads a few rows from Postgres."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        yield from self.collect_requests()
        yield self.collect_recorded()
        yield from self.collect_workers()
        yield from self.collect_releases()
        yield from self.collect_retraining()
        since_poll = GaugeMetricFamily(
            "slipway_seconds_since_last_look", "Seconds since the controller last looked for work"
        )
        if (seconds := self.read_heartbeat_age()) is not None:
            since_poll.add_metric([], seconds)
        yield since_poll

    def collect_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "slipway_requests", "Prediction calls answered", labels=["model", "call", "status"]
        )
        for (model, call, status), count in list(self.stats.answered.items()):
            requests.add_metric([model, call, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "slipway_request_seconds", "From a call's head to its answer", labels=["model", "call"]
        )
        for labels, histogram in list(self.stats.latency.items()):
            add_histogram(seconds, list(labels), histogram)
        yield seconds

    def collect_recorded(self) -> Metric:
        rows = CounterMetricFamily(
            "slipway_request_log_rows",
            "Rows of the request log, and rows that are not in it: not sampled, over the rate, dropped",
            labels=["model", "outcome"],
        )
        for (model, outcome), count in list(self.request_log.counts.items()):
            rows.add_metric([model, outcome], count)
        return rows

    def collect_workers(self) -> Iterator[Metric]:
        rows = HistogramMetricFamily("slipway_batch_rows", "Rows given to a worker at once", labels=["model"])
        restarts = CounterMetricFamily("slipway_worker_restarts", "Workers replaced", labels=["model"])
        workers = GaugeMetricFamily("slipway_workers", "Workers of the live release", labels=["model"])
        waiting = GaugeMetricFamily("slipway_requests_waiting", "Rows that wait for one", labels=["model"])
        in_flight = GaugeMetricFamily(
            "slipway_requests_in_flight", "Rows that workers process", labels=["model"]
        )
        for name, served in self.model_registry.by_model.items():
            add_histogram(rows, [name], served.worker_stats.frames)
            restarts.add_metric([name], served.worker_stats.restarts)
            pool = served.live.pool if served.live else None
            workers.add_metric([name], len(pool.workers) if pool else 0)
            waiting.add_metric([name], len(pool.queue) if pool else 0)
            in_flight.add_metric(
                [name], sum(len(worker.in_flight) for worker in list(pool.workers)) if pool else 0
            )
        yield from (rows, restarts, workers, waiting, in_flight)

    def collect_releases(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("slipway_live_release", "The live release's number, or 0", labels=["model"])
        since = GaugeMetricFamily(
            "slipway_live_since_timestamp_seconds", "When it went live", labels=["model"]
        )
        info = InfoMetricFamily("slipway_live", "The live release", labels=["model"])
        for name, served in self.model_registry.by_model.items():
            live.add_metric([name], served.live.release.id if served.live else 0)
            if served.live is not None:
                since.add_metric([name], served.live.since.timestamp())
                commit = served.live.release.commit
                info.add_metric([name], {"release": str(served.live.release.id), "commit": commit})
        yield from (live, since, info)

    def collect_retraining(self) -> Iterator[Metric]:
        """Yield nothing of models for which nothing is planned."""
        due = GaugeMetricFamily(
            "slipway_next_retraining_timestamp_seconds", "When the next retraining is due", labels=["model"]
        )
        paused = GaugeMetricFamily(
            "slipway_retraining_paused", "1 while an operator has paused retraining", labels=["model"]
        )
        for plan in self.read_plans():
            paused.add_metric([plan.model], plan.paused_at is not None)
            if plan.next_at is not None:
                due.add_metric([plan.model], plan.next_at.timestamp())
        yield from (due, paused)


def add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    total, buckets = 0, []
    for bound, count in zip((*histogram.bounds, float("inf")), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    family.add_metric(labels, buckets, histogram.sum)
