"""Windows are fair draws of recorded rows, and no call has much weight in them."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ml.monitor.drift.windows import DAY_SECONDS, MAX_CALL_SHARE, Row, draw_day, draw_newest


def make_rows(counts: list[int]) -> list[Row]:
    """Return one call a second, with so many rows each."""
    return [
        Row(f"call {call}", float(call), row) for call, count in enumerate(counts) for row in range(count)
    ]


@given(counts=st.lists(st.integers(1, 40), max_size=60), seed=st.integers(0, 5))
@settings(deadline=None)
def test_no_call_has_more_than_its_share(counts: list[int], seed: int) -> None:
    rows = make_rows(counts)
    for window in (draw_newest(rows, seed, 200), draw_day(rows, seed, 60.0, 200)):
        per_call = Counter(row.call for row in window.rows)
        assert max(per_call.values(), default=0) <= MAX_CALL_SHARE * len(window.rows)
        assert len(set(map(id, window.rows))) == len(window.rows) <= 200
        assert bool(window.rows) == (len(counts) >= 20)  # twenty calls of a twentieth each


def test_the_newest_rows_are_taken() -> None:
    window = draw_newest(make_rows([1] * 3000), 0, 1000)
    assert (window.oldest, window.newest, len(window.rows)) == (2000.0, 2999.0, 1000)


def test_one_huge_call_does_not_push_out_the_others() -> None:
    window = draw_newest(make_rows([1] * 950 + [20_000]), 0, 1000)
    assert Counter(row.call for row in window.rows)["call 950"] == 50
    assert len(window.rows) == 1000


def test_a_day_ends_at_now_and_rows_are_equally_likely() -> None:
    rows = [Row(str(second), float(second), None) for second in range(0, 3 * DAY_SECONDS, 60)]
    taken: Counter[float] = Counter()
    for seed in range(200):
        window = draw_day(rows, seed, 2.0 * DAY_SECONDS, 360)
        assert window.recorded == 1440
        assert DAY_SECONDS < window.oldest < window.newest <= 2 * DAY_SECONDS
        taken.update(row.at for row in window.rows)
    assert len(taken) == 1440
    assert 20 <= min(taken.values()) < 50 < max(taken.values()) <= 90  # a quarter of 200 draws


def test_the_same_seed_draws_the_same() -> None:
    rows = make_rows([3] * 2000)
    assert draw_day(rows, 1, 2000.0, 100) == draw_day(rows, 1, 2000.0, 100)
    assert draw_day(rows, 1, 2000.0, 100) != draw_day(rows, 2, 2000.0, 100)
