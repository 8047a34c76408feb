"""The Prometheus metrics of vcs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vcs.singer import Singer
from vcs.sync import SyncOutcome, SyncReport

DURATION_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800)


class VcsMetrics:
    def __init__(self, singer: Singer) -> None:
        self.registry = CollectorRegistry()
        self.syncs = Counter("slipway_syncs", "Syncs by outcome", ["outcome"], registry=self.registry)
        self.seconds = Histogram(
            "slipway_sync_seconds", "How long syncs take", buckets=DURATION_BUCKETS, registry=self.registry
        )
        self.rows = Counter("slipway_sync_rows", "Pull requests that were stored", registry=self.registry)
        self.accepted = Counter("slipway_accepted", "Newly accepted pull requests", registry=self.registry)
        self.success = Gauge(
            "slipway_last_sync_timestamp_seconds", "When a sync last ended well", registry=self.registry
        )
        self.webhooks = Counter(
            "slipway_webhooks",
            "Webhook calls by the status of the answer",
            ["status"],
            registry=self.registry,
        )
        quota = Gauge("slipway_github_calls_left", "What is left of GitHub's quota", registry=self.registry)
        quota.set_function(lambda: singer.quota.remaining if singer.quota else float("nan"))

    def observe_sync(self, outcome: SyncOutcome, seconds: float) -> None:
        self.seconds.observe(seconds)
        self.syncs.labels("ok" if isinstance(outcome, SyncReport) else outcome.kind).inc()
        if isinstance(outcome, SyncReport):
            self.rows.inc(outcome.rows)
            self.accepted.inc(outcome.newly_accepted)
            self.success.set_to_current_time()

    def render_text(self) -> bytes:
        return generate_latest(self.registry)
