"""Durations, sizes and shares are read as people write them, and nothing is guessed."""

import pytest

from common.units import format_bytes, parse_duration, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("1h", 3600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        ("1 h 5 m", 3900),
    ],
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", 90, 1.5, "h", "-1h", "1w", "1h30", "0s", "1e3s", "nan s", True, None]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|above zero"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("4GiB", 4 << 30),
        ("512 MiB", 512 << 20),
        ("10GB", 10**10),
        ("1.5KiB", 1536),
        ("7B", 7),
        ("2TiB", 2 << 40),
    ],
)
def test_a_size_is_of_1024_with_an_i_and_of_1000_without(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["4G", "4", 4, "gib", "-1GiB", "0B", "1e9B", "4 GiB per worker", None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"size|above zero"):
        parse_size(text)


@pytest.mark.parametrize(("text", "of_one"), [("5%", 0.05), ("0.5 %", 0.005), ("0%", 0.0), ("150%", 1.5)])
def test_a_share_is_a_percentage(text: str, of_one: float) -> None:
    assert parse_share(text) == pytest.approx(of_one)


@pytest.mark.parametrize("text", ["5", 5, 0.05, "-5%", "%", "five %", None])
def test_what_is_no_percentage_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        parse_share(text)


def test_bytes_are_written_for_a_person() -> None:
    assert [format_bytes(n) for n in (7, 1536, 5 << 20, 3 << 30, 2 << 40)] == [
        "7 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "2.0 TiB",
    ]
