"""The time that the server takes for the overview of 20 models with 2,000 releases."""

import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import migrate
from db.models import Deployment, Release, Stage
from db.session import create_sessionmaker
from db.states import Cause, Status
from ml.serving.counters import RequestStats
from ml.serving.registry import LiveRelease, ModelRegistry
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.serving.workers.pool import Pool
from ml.settings import MlSettings, ModelConfig
from ml.web.pages import dashboard

MODELS, RELEASES, ROUNDS, BAR = 20, 2000, 30, 0.150
ENDS = (Status.DEPLOYED, Status.REJECTED, Status.DEPLOYED, Status.SUPERSEDED)


def main() -> bool:
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        server = Postgres(Path(folder) / "postgres").start()
        try:
            migrate.upgrade_schema(server.database_url())
            settings = MlSettings(database_url=server.database_url())
            return measured(settings, create_sessionmaker(server.database_url()))
        finally:
            server.stop()


def measured(settings: MlSettings, factory: sessionmaker[Session]) -> bool:
    models = [
        ModelConfig(f"model-{n}", f"acme/model-{n}", "https://example.com/m.git", "main")
        for n in range(MODELS)
    ]
    registry = ModelRegistry(models)
    with factory.begin() as session:
        session.expire_on_commit = False
        for served in registry.by_model.values():
            served.live = filled(session, served.model)
    app = FastAPI()
    app.include_router(
        dashboard.create_router(settings, registry, factory, TrafficRecorder(RequestStats(), factory))
    )
    took = []
    with TestClient(app) as client:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            page = client.get("/", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
            took.append(time.perf_counter() - began)
            assert page.status_code == 200
    size = int(page.headers["content-length"])
    worst = statistics.quantiles(took, n=20)[-1]
    print(
        f"  median {1000 * statistics.median(took):.0f} ms, 95 % {1000 * worst:.0f} ms, {size / 1000:.0f} kB"
    )
    return statistics.median(took) <= BAR


def filled(session: Session, model: ModelConfig) -> LiveRelease:
    """Create the model's releases, of which the last but one is live and the last is being built."""
    made = [
        Release(
            model=model.name,
            repository=model.repository,
            commit=f"{n:040d}",
            status=ENDS[n % 4],
            reason="SMAPE 0.4, release 1 has 0.2 (may worsen by 5%)" if n % 4 == 1 else None,
            metrics={"SMAPE": 0.3 - n / 1000, "MAE": 2000.0 - n, "RMSE": 3000.0 - n},
            info={"Name": model.name, "Evaluation metric": "SMAPE", "Description": "A model. " * 20},
            lock="numpy==2.0.0\n" * 200,
        )
        for n in range(RELEASES // MODELS)
    ]
    made[-1].status = Status.BUILDING
    session.add_all(made)
    session.flush()
    session.add(Stage(release_id=made[-1].id, name="train"))
    live = Deployment(model=model.name, release_id=made[-2].id, cause=Cause.GATE, who="gate")
    return LiveRelease(release=made[-2], pool=cast("Pool", None), deployment=live, since=datetime.now(UTC))
