"""The child process that runs a release's own evaluate on recorded requests with ground truth.

`python -m ml.builder.score_recorded MODEL RELEASE BEGIN END SEED` prints {"metrics", "rows"}. Exit
code 1 with one sentence on stderr: there is no score. The sentence has nothing of what users sent.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError, UnavailableError
from db import quality_rows
from db.models import Release
from db.quality_rows import QualityPeriod
from db.recorded_rows import LabelledRow
from db.session import DB_ERRORS, create_sessionmaker
from ml import manifest
from ml.builder import scoring
from ml.paths import QUALITY_FOLDER, RECORDED_FOLDER, HomeLayout
from ml.runtime.materialize import materialize_release
from ml.sandbox import rmtree
from ml.settings import MlSettings
from ml.sources.datasets import DataSet
from ml.sources.recorded.columns import read_usual_columns
from ml.sources.recorded.table import TableWriter
from ml.stage_log import discard

MIN_ROWS = 50  # of the table
MAX_SECONDS = 300.0
FAILED = "the repository's evaluate failed on recorded rows"


class NotScoredError(Exception):
    """A release that is not scored; the text, which has nothing of the model's, says why."""


def score_recorded(
    sessions: sessionmaker[Session], settings: MlSettings, release_id: int, window: QualityPeriod, seed: int
) -> dict[str, Any]:
    """Return the release's own metrics on a draw of a window's rows, and how many rows these are.

    Nothing that its code writes or prints stays but numbers: it may have what users sent. Raises
    `NotScoredError`, and as `scoring.score_release` does.
    """
    model = next((model for model in settings.list_models() if model.name == window.model), None)
    if model is None:
        raise NotScoredError(f"the appliance no longer follows {window.model}")
    with sessions.begin() as session:
        release = session.get_one(Release, release_id)
    ready = materialize_release(settings, model, release, discard)
    target = manifest.read(ready.runtime.source).model.target
    if target is None:
        raise NotScoredError("slipway.toml names no target in [model]")
    home = HomeLayout(settings.home.absolute()).release_path(release_id)
    folder = home / QUALITY_FOLDER / RECORDED_FOLDER  # an erasure finds what a killed process leaves
    rmtree.remove_tree(folder)
    folder.mkdir(parents=True)  # before rows are drawn: an erasure from then on removes it
    try:
        with sessions.begin() as session:
            rows = quality_rows.draw_features(session, window, release_id, seed)
        usual = read_usual_columns(ready.runtime.source, target)
        written = write_rows(TableWriter(target, usual, quality_rows.MAX_BYTES), rows, folder / "test.csv")
        data = DataSet(folder / "test.csv", "csv", "", 0, "recorded requests")
        runnable = replace(ready, runtime=replace(ready.runtime, scratch=folder / "scratch"))
        seconds = min(MAX_SECONDS, settings.evaluate_timeout)
        found = scoring.score_release(
            runnable, data, output=folder / "evaluate", log=folder / "log", timeout=seconds
        )
    finally:
        rmtree.remove_tree(folder.parent)
    return {"metrics": keep_named(found.metrics, release.metrics or {}), "rows": written}


def write_rows(table: TableWriter, rows: Sequence[LabelledRow], file: Path) -> int:
    """Write the rows that are a table; return how many these are. Raises `NotScoredError`."""
    try:
        written = table.write_csv(rows, file)
        file.chmod(0o444)
    except FileNotFoundError:
        raise NotScoredError("recorded rows were erased meanwhile") from None
    if written.rows < MIN_ROWS:
        needed = f"and the repository's evaluate needs {MIN_ROWS}"
        raise NotScoredError(f"{written.rows} recorded rows are a table, {needed}")
    return written.rows


def keep_named(metrics: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that the release had at its gate: another name may be what users sent."""
    return {name: value for name, value in metrics.items() if name in before}


def main(name: str, release: str, begin: str, end: str, seed: str) -> None:
    settings = MlSettings()
    window = QualityPeriod(name, "", datetime.fromisoformat(begin), datetime.fromisoformat(end))
    try:
        sessions = create_sessionmaker(settings.database_url)
        found = score_recorded(sessions, settings, int(release), window, int(seed))
    except NotScoredError as cause:
        sys.exit(str(cause))
    except DB_ERRORS:
        sys.exit("Postgres is away")
    except (RejectedError, UnavailableError):  # their texts may have what users sent
        sys.exit(FAILED)
    except Exception as bug:  # noqa: BLE001 (so may its traceback)
        sys.exit(f"{FAILED}: a bug of Slipway's, {type(bug).__name__}")
    json.dump(found, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
