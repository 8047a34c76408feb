"""A model's own recorded requests with ground truth, as the files that one release is trained on."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from common.errors import RejectedError
from db import recorded_rows
from db.models import Release
from db.recorded_rows import LabelledPeriod
from db.session import read_time
from ml.manifest import DataSection, Manifest
from ml.recorded_address import parse_recorded
from ml.sources.recorded.columns import read_usual_columns
from ml.sources.recorded.split import MIN_TEST_ROWS, Split, make_split
from ml.sources.recorded.table import TableWriter, Written
from ml.stage_log import LogLine

MIN_NEW_ROWS, NEW_SHARE = 100, 0.1  # that make it new data: so many, and this share of those trained on
MAX_DOUBLINGS = 20


@dataclass(frozen=True)
class RecordedPeriod:
    """The rows that a data set has: the times of the first and the last, and when they were read."""

    begin: str
    end: str
    rows: int
    read_at: str

    @property
    def begins_at(self) -> datetime:
        return datetime.fromisoformat(self.begin)


@dataclass(frozen=True)
class Growth:
    """Say how much training data has grown: so many rows at least.

    The step is 0 for too few, 1 for the first rows that make it new data, and one more each time that they
    double: a model is not trained again at each look.
    """

    step: int = 0
    rows: int = 0

    @property
    def is_new(self) -> bool:
        return self.step > 0


@dataclass(frozen=True)
class RecordedRows:
    """The rows of one model, for one build; `warm_start` is the release that it begins from."""

    sessions: sessionmaker[Session]
    model: str
    section: DataSection
    target: str
    source: Path  # the repository's files
    warm_start: int | None = None

    @cached_property
    def split(self) -> Split:
        """The periods of both data sets, of one moment."""
        with self.sessions.begin() as session:
            return make_split(session, self.model, self.section, self.warm_start)

    def write(
        self, name: str, output: Path, max_bytes: int, log_line: LogLine
    ) -> tuple[Path, RecordedPeriod]:
        """Write a data set into the folder `output`; return the file and what it has.

        Raises `RejectedError` where there are too few rows, or too many bytes.
        """
        period = self.split.train if name == "train" else self.split.test
        assert period is not None
        has_columns = self.section.format == "csv"
        file = output / f"{name}.{'csv' if has_columns else 'json'}"
        output.mkdir(parents=True, exist_ok=True)
        usual = read_usual_columns(self.source, self.target) if has_columns else []
        table = TableWriter(self.target, usual, max_bytes)
        write = table.write_csv if has_columns else table.write_json
        written = write(recorded_rows.read_rows(self.sessions, period), file)
        file.chmod(0o444)
        if written.left_out:
            log_line(f"{written.left_out} rows were left out: they do not fit the table that most rows are")
        self._check_rows(written)
        return file, RecordedPeriod(written.begin, written.end, written.rows, self.split.read_at.isoformat())

    def find_growth(self, used: RecordedPeriod) -> Growth:
        """Return how many rows have been added to the training data since a release read it."""
        needed = max(MIN_NEW_ROWS, math.ceil(used.rows * NEW_SHARE))
        with self.sessions.begin() as session:
            now = read_time(session)
            days = parse_recorded(self.section.train or "").days
            period = LabelledPeriod(self.model, now - timedelta(days=days), now)
            since = datetime.fromisoformat(used.read_at)
            found = recorded_rows.count_new(session, period, since, needed << MAX_DOUBLINGS)
        step = (found // needed).bit_length()
        return Growth(step, needed << (step - 1)) if step else Growth()

    def _check_rows(self, written: Written) -> None:
        if written.rows < MIN_TEST_ROWS:
            raise RejectedError(
                f"slipway://recorded: {written.rows} rows are an object of plain values with a plain value "
                'as ground truth: others are trained on with format = "json" in [data]'
            )


def open_recorded(
    sessions: sessionmaker[Session], release: Release, manifest: Manifest, source: Path
) -> RecordedRows | None:
    """Return the rows that a release may be trained on; None where its manifest names none."""
    section, target = manifest.data, manifest.model.target
    if not section.has_recorded or target is None:
        return None
    return RecordedRows(sessions, release.model, section, target, source, release.warm_start)
