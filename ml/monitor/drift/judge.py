"""The judgement of a window: which columns changed, counted over all columns and two windows in a row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scipy import stats

from ml.monitor.drift.baseline import Column, DriftBaseline, measure_column, select
from ml.monitor.drift.calibration import CalibrationCache
from ml.monitor.drift.compare import ALPHA, Comparer
from ml.monitor.drift.distribution import compare_distributions
from ml.monitor.drift.findings import ColumnFinding, Comparison, DriftStatus, WindowFinding, explain
from ml.monitor.drift.reference import ReferenceColumn, number_calls, prepare_columns
from ml.monitor.drift.windows import MIN_CALLS, Row, Window

MIN_ROWS = 100  # of a window
MIN_BASELINE_ROWS = 200
MAX_UNKNOWN = 20
MAX_DISTRIBUTIONS = 24  # of columns of one window, the worst ones

Suspicion = Mapping[str, float]  # column → the newest row of the window in which it was first suspected


class DriftJudge:
    """Judges windows of one baseline."""

    def __init__(self, baseline: DriftBaseline, cache: CalibrationCache) -> None:
        self.baseline, self.cache = baseline, cache
        self.columns = prepare_columns(baseline)

    def judge(self, window: Window, suspicion: Suspicion | None = None) -> WindowFinding:
        """Return how a window differs; what was suspected before in older rows, and still is, is drift."""
        if lacking := self._explain_too_few(window):
            return summarize(window, DriftStatus.TOO_FEW, lacking, ())
        compared = list(self._compare(window.rows))
        adjusted = stats.false_discovery_control([combine(comparisons) for _, comparisons in compared])
        found = [
            judge_column(column, comparisons, float(probability))
            for (column, comparisons), probability in zip(compared, adjusted, strict=True)
        ]
        confirmed = [confirm(finding, window.oldest, suspicion or {}) for finding in found]
        confirmed.sort(
            key=lambda finding: (list(DriftStatus).index(finding.status), -finding.probability), reverse=True
        )
        drawn = [
            self._add_distribution(finding, window.rows)
            if number < MAX_DISTRIBUTIONS or finding.is_prediction
            else finding
            for number, finding in enumerate(confirmed)
        ]
        unknown = self._list_unknown(window.rows)
        return summarize(window, confirmed[0].status, describe(confirmed), tuple(drawn), unknown)

    def _add_distribution(self, finding: ColumnFinding, rows: Sequence[Row]) -> ColumnFinding:
        """Return the finding with how the column is distributed in the baseline and in these rows."""
        reference = next(
            one
            for one in self.columns
            if (one.is_prediction, one.column.name) == (finding.is_prediction, finding.name)
        )
        distribution = compare_distributions(reference.column, self._measure(reference, rows))
        return replace(finding, distribution=distribution)

    def _explain_too_few(self, window: Window) -> str:
        if self.baseline.rows < MIN_BASELINE_ROWS:
            return f"the baseline has {self.baseline.rows} rows, and {MIN_BASELINE_ROWS} are needed"
        if not window.rows:
            return f"{window.recorded} rows of too few calls: {MIN_CALLS} calls are needed"
        if len(window.rows) < MIN_ROWS:
            return f"{len(window.rows)} rows to compare, and {MIN_ROWS} are needed"
        return ""

    def _compare(self, rows: Sequence[Row]) -> Iterator[tuple[ReferenceColumn, list[Comparison]]]:
        """Yield the columns with their comparisons; the prediction only where enough rows have one."""
        predicted = [row for row in rows if row.has_prediction]
        has_enough = len(predicted) >= MIN_ROWS and len({row.call for row in predicted}) >= MIN_CALLS
        for column in self.columns:
            if column.is_prediction and not has_enough:
                continue
            chosen = predicted if column.is_prediction else rows
            comparer = Comparer(self.cache, number_calls([row.call for row in chosen]))
            yield column, comparer.compare(column, self._measure(column, chosen))

    def _measure(self, reference: ReferenceColumn, rows: Sequence[Row]) -> Column:
        name, kind = reference.column.name, reference.column.kind
        if reference.is_prediction:
            return measure_column(name, [row.prediction for row in rows], kind)
        return measure_column(
            name, [select(row.features, name, self.baseline.has_columns) for row in rows], kind
        )

    def _list_unknown(self, rows: Sequence[Row]) -> tuple[str, ...]:
        if not self.baseline.has_columns:
            return ()
        known = {column.name for column in self.baseline.features}
        names: dict[str, None] = {}
        for row in rows:
            if isinstance(row.features, dict):
                names |= dict.fromkeys(str(name)[:100] for name in row.features if name not in known)
        return tuple(sorted(names)[:MAX_UNKNOWN])


def combine(comparisons: Sequence[Comparison]) -> float:
    """Return the probability of a column's largest change where nothing has changed (Bonferroni's bound)."""
    large = [comparison.probability for comparison in comparisons if comparison.is_large]
    return min(1.0, len(comparisons) * min(large, default=1.0))


def judge_column(
    reference: ReferenceColumn, comparisons: Sequence[Comparison], probability: float
) -> ColumnFinding:
    column = reference.column
    large = [comparison for comparison in comparisons if comparison.is_large]
    is_suspected = probability <= ALPHA and bool(large)
    reason = ""
    if is_suspected:
        reason = explain(column.kind, min(large, key=lambda one: one.probability))
    return ColumnFinding(
        column.name,
        reference.is_prediction,
        column.kind,
        DriftStatus.SUSPECTED if is_suspected else DriftStatus.SAME,
        probability,
        reason,
        tuple(comparisons),
    )


def confirm(finding: ColumnFinding, oldest: float, suspicion: Suspicion) -> ColumnFinding:
    """Return the finding as drift where an earlier window, of other rows, had it too."""
    since = suspicion.get(key_of(finding))
    if finding.status is DriftStatus.SUSPECTED and since is not None and oldest > since:
        return replace(finding, status=DriftStatus.DRIFT)
    return finding


def key_of(finding: ColumnFinding) -> str:
    return "prediction" if finding.is_prediction else f"feature {finding.name}"


def next_suspicion(finding: WindowFinding, before: Suspicion) -> dict[str, float]:
    """Return what the next window has to be judged with; a window of too few rows changes nothing."""
    if finding.status is DriftStatus.TOO_FEW:
        return dict(before)
    suspected = [one for one in finding.columns if one.status in (DriftStatus.SUSPECTED, DriftStatus.DRIFT)]
    return {key_of(one): before.get(key_of(one), finding.newest) for one in suspected}


def describe(found: Sequence[ColumnFinding]) -> str:
    """Return one sentence about the worst columns."""
    for status in (DriftStatus.DRIFT, DriftStatus.SUSPECTED):
        names = [one.name for one in found if one.status is status]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            return f"{', '.join(names[:3])}{more}: {found[0].reason}"
    return ""


def summarize(
    window: Window,
    status: DriftStatus,
    reason: str,
    columns: tuple[ColumnFinding, ...],
    unknown: tuple[str, ...] = (),
) -> WindowFinding:
    calls = len({row.call for row in window.rows})
    oldest, newest = window.oldest, window.newest
    return WindowFinding(
        window.name,
        status,
        reason,
        len(window.rows),
        window.recorded,
        calls,
        oldest,
        newest,
        columns,
        unknown,
    )
