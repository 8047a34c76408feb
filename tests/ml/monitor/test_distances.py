"""Distances are those of scipy, thresholds those of draws, and few independent rows are few."""

import numpy as np
import pytest
from scipy import stats

from ml.monitor.drift.calibration import (
    CalibrationCache,
    NullDistribution,
    calibrate,
    round_rows,
)
from ml.monitor.drift.distances import (
    LabelReference,
    NumberReference,
    less_likely,
    more_likely,
    share_threshold,
)
from ml.monitor.drift.effective import effective_rows, one_hot, ranks

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("decimals", [12, 0], ids=["different", "tied"])
def test_distances_of_numbers_are_those_of_scipy(decimals: int) -> None:
    before, now = RANDOM.normal(0, 3, 2000).round(decimals), RANDOM.normal(1, 4, 300).round(decimals)
    reference = NumberReference.from_numbers(before)
    smirnov, wasserstein = reference.measure(now)
    assert smirnov == pytest.approx(stats.ks_2samp(before, now, method="asymp").statistic)
    assert wasserstein * reference.scale == pytest.approx(stats.wasserstein_distance(before, now))


def test_draws_of_the_baseline_are_measured_like_a_window() -> None:
    before = RANDOM.integers(0, 30, 500).astype(float)
    reference = NumberReference.from_numbers(before)
    drawn = reference.resample(100, 50, np.random.default_rng(1))
    again = np.random.default_rng(1)
    chosen = [reference.sorted[row] for row in again.integers(0, 500, (50, 100))]
    assert pytest.approx(np.array([reference.measure(one) for one in chosen])) == np.array(drawn).T


def test_shares_of_labels_are_compared_by_both_distances() -> None:
    reference = LabelReference(np.array([0.5, 0.3, 0.2]))
    distance, chi_squared = reference.measure(np.array([50, 30, 20]))
    assert distance == pytest.approx(0, abs=1e-6)
    assert chi_squared == pytest.approx(0)
    _, chi_squared = reference.measure(np.array([30, 30, 40]))
    expected = stats.chisquare([30, 30, 40], [50, 30, 20])
    assert chi_squared * 100 == pytest.approx(expected.statistic)


def test_thresholds_follow_the_known_distribution() -> None:
    """Where nothing changed, the distance of n rows is Kolmogorov's: 1.63 over the root of n, in 1 of 100."""
    reference = NumberReference.from_numbers(RANDOM.normal(size=10_000))
    for rows in (100, 1000):
        null, _ = calibrate(reference, rows, "seed")
        assert null.distance(0.01) == pytest.approx(stats.kstwobign.isf(0.01) / rows**0.5, rel=0.08)
        assert null.distance(0.001) == pytest.approx(stats.kstwobign.isf(0.001) / rows**0.5, rel=0.15)


def test_a_probability_falls_with_the_distance() -> None:
    null = NullDistribution.from_draws(RANDOM.exponential(size=1000))
    found = [null.probability(distance) for distance in np.linspace(0, 20, 400)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 1
    assert 0 < found[-1] < 1e-6
    assert null.probability(null.distance(0.001)) == pytest.approx(0.001)


def test_rows_are_rounded_down_to_a_grid() -> None:
    for rows in range(30, 10_000, 7):
        assert 0.9 * rows <= round_rows(rows) <= rows
    assert len({round_rows(rows) for rows in range(500, 1000)}) < 20


def test_a_share_is_judged_by_both_numbers_of_rows() -> None:
    assert more_likely(1, 500, 0, 10_000) > 0.01  # one where there was none says little
    assert more_likely(3, 500, 0, 10_000) < 0.001
    assert more_likely(3, 500, 0, 300) > 0.01  # of few rows, none says little
    assert less_likely(0, 500, 500, 10_000) < 1e-6
    assert less_likely(0, 500, 0, 10_000) > 0.9
    threshold = share_threshold(0.001, 500, 100, 10_000)
    assert more_likely(round(threshold * 500), 500, 100, 10_000) <= 0.001
    assert more_likely(round(threshold * 500) - 1, 500, 100, 10_000) > 0.001


def test_equal_rows_of_a_call_count_once() -> None:
    numbers, calls = RANDOM.normal(size=100), np.arange(100)
    assert effective_rows(ranks(numbers), calls) == 100
    repeated = effective_rows(ranks(np.repeat(numbers, 10)), np.repeat(calls, 10))
    assert repeated == pytest.approx(100, rel=0.02)
    independent = effective_rows(ranks(RANDOM.normal(size=1000)), np.repeat(calls, 10))
    assert independent > 700
    codes = RANDOM.integers(0, 3, 100)
    labels = effective_rows(one_hot(np.repeat(codes, 10), 3), np.repeat(calls, 10))
    assert labels == pytest.approx(100, rel=0.02)
    assert effective_rows(np.zeros((1000, 1)), np.repeat(calls, 10)) == 100


def test_thresholds_are_stored_and_made_once(tmp_path) -> None:
    reference = NumberReference.from_numbers(RANDOM.normal(size=1000))
    first = CalibrationCache("digest", tmp_path / "cache")
    made = first.get("numbers a", reference, 100)
    first.save()
    assert CalibrationCache("digest", tmp_path / "cache").get("numbers a", reference, 100) == made
    stored = (tmp_path / "cache").stat().st_mtime_ns
    again = CalibrationCache("digest", tmp_path / "cache")
    again.get("numbers a", reference, 100)
    again.save()  # nothing is new
    assert (tmp_path / "cache").stat().st_mtime_ns == stored


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        '{"version": 1, "digest": "digest", "found": {"numbers a 100": [[1], [2]]}}',
        "[" * 99999,
    ],
)
def test_a_damaged_store_of_thresholds_counts_as_none(tmp_path, content: str) -> None:
    (tmp_path / "cache").write_text(content)
    reference = NumberReference.from_numbers(np.arange(1000.0))
    found = CalibrationCache("digest", tmp_path / "cache").get("numbers a", reference, 100)
    assert found == CalibrationCache("digest").get("numbers a", reference, 100)
