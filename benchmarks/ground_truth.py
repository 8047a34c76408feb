"""A million values of ground truth for a million rows, sent twice, and forged ids; `ROWS` sets how many."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import databases, migrate, request_log
from db.ground_truth_models import GroundTruth
from db.models import Release
from db.session import create_sessionmaker
from ml.paths import HomeLayout
from ml.serving.request_log.ids import IdMaker
from ml.serving.request_log.key import derive_key, load_key
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import free_port, wait_until

ROWS, DAYS, FORGED, MODEL = 1_000_000, 10, 10_000, "forest"
BATCH_ROWS = 10_000
ROOT = Path(__file__).parents[1]
IMPORT = [sys.executable, "-c", "from cli.main import app; app()", "ground-truth", "import"]


def main() -> bool:
    """Return True when each value is stored once, and no forged one is."""
    rows = int(os.environ.get("ROWS", ROWS))
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name, appliance(Path(name)) as made:
        sessions, variables, server = made
        home = HomeLayout(Path(variables["SLIPWAY_HOME"]))
        key = derive_key(load_key(home.record_key), "ids")
        calls = make_calls(IdMaker(key, MODEL), rows)
        recording = record(sessions, calls)
        memory = server.memory_info().rss
        file = Path(name) / "truth.csv"
        file.write_text(
            "prediction,value\n" + "".join(f"{call},{at}.5\n" for at, (call, _) in enumerate(calls))
        )
        first, took = send(file, variables)
        second, again = send(file, variables)
        foreign = make_calls(IdMaker(key, "another"), FORGED // 2)
        forged = [(call[:-1] + ("0" if call[-1] != "0" else "1"), at) for call, at in calls[: FORGED // 2]]
        file.write_text("prediction,value\n" + "".join(f"{call},1\n" for call, _ in foreign + forged))
        third, _ = send(file, variables)
        grown = server.memory_info().rss / memory
        with sessions.begin() as session:
            stored = session.scalar(select(func.count()).select_from(GroundTruth))
            right = session.scalar(CHECK)
    print(f"  first {first}\n  again {second}\n  forged and foreign {third}")
    print(f"  time to that of recording the rows: {took / recording:.1f}, again {again / recording:.1f}")
    print(
        f"  {rows / took:,.0f} values a second; memory of serve at the end to before {grown:.2f}", flush=True
    )
    unknown = len(foreign) + len(forged)
    return (
        first == {"stored": rows}
        and second == {"stored": rows, "unchanged": rows}
        and third == {"stored": 0, "unknown": unknown}
        and stored == right == rows
    )


CHECK = text("""
    SELECT count(*) FROM ground_truth t JOIN requests r USING (id, "row", at)
    WHERE t.value = to_jsonb(CAST(r.client_id AS integer) + 0.5) AND NOT is_early
""")


@contextmanager
def appliance(folder: Path) -> Iterator[tuple[sessionmaker[Session], Mapping[str, str], psutil.Process]]:
    """Run Postgres and `serve` with one model, of which nothing is live."""
    postgres = Postgres(folder / "postgres", settings={"max_wal_size": "2GB"}).start()
    databases.create(postgres.database_url(), "truth")
    url, port = postgres.database_url("truth"), free_port()
    migrate.upgrade_schema(url)
    variables = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url,
        "SLIPWAY_HOME": str(folder / "home"),
        "SLIPWAY_REPOSITORY": f"acme/{MODEL}",
        "SLIPWAY_CLONE_URL": ModelRepository(folder / "repository").url,
        "ML_PORT": str(port),
        "SLIPWAY_URL": f"http://127.0.0.1:{port}",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ml"], env=variables, cwd=ROOT, stderr=log)
    sessions = create_sessionmaker(url, 600)
    try:
        wait_until(lambda: answers(variables["SLIPWAY_URL"]), 60, "serve answers")
        yield sessions, variables, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()
        sessions.kw["bind"].dispose()
        postgres.stop()


def answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", trust_env=False)
    except httpx.TransportError:
        return False
    return True


def make_calls(ids: IdMaker, count: int) -> list[tuple[str, datetime]]:
    """Return ids of calls of the last days, with their times."""
    newest = int(1000 * time.time())
    made = [ids.make(newest - number * DAYS * 86_400_000 // count) for number in range(count)]
    return [(str(one.uuid), one.at) for one in made]


def record(sessions: sessionmaker[Session], calls: list[tuple[str, datetime]]) -> float:
    """Record a row for each call, whose client's id is its number; return the seconds that it takes."""
    today = datetime.now(UTC).date()
    with sessions.begin() as session:
        for age in range(DAYS + 2):
            session.execute(select(func.create_request_partition(today - timedelta(days=age))))
        release = Release(model=MODEL, repository=f"acme/{MODEL}", commit="c" * 40, kind="regression")
        session.add(release)
        session.flush()
        number = release.id
    began = time.perf_counter()
    for first in range(0, len(calls), BATCH_ROWS):
        batch = calls[first : first + BATCH_ROWS]
        with sessions.begin() as session:
            request_log.record_batch(
                session, [make_row(number, first + n, *call) for n, call in enumerate(batch)]
            )
    return time.perf_counter() - began


def make_row(release: int, number: int, call: str, at: datetime) -> dict[str, object]:
    return {
        "id": call,
        "row": 0,
        "at": at,
        "model": MODEL,
        "release_id": release,
        "route": "predict",
        "client_id": str(number),
        "features": f'{{"x": {number}}}',
        "answer": "1.5",
        "error": None,
        "milliseconds": 1.5,
        "is_whole": True,
        "is_reduced": False,
    }


def send(file: Path, variables: Mapping[str, str]) -> tuple[dict[str, int], float]:
    """Import a file as a user does; return the counts that are printed, and the seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [*IMPORT, str(file)], env=variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    shown = [line for line in done.stdout.splitlines() if not line.startswith(("line ", "and "))]
    counts = {
        name: int(count.replace(",", "")) for name, count in (line.rsplit(maxsplit=1) for line in shown)
    }
    return counts or {done.stderr: 0}, took
