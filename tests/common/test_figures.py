"""Numbers as people read them."""

from common.figures import format_change, format_metric, format_number, format_short, relative_change


def test_thousands_are_set_apart_where_it_can_be_no_year() -> None:
    numbers = (1984, 9999.5, 10_000, 1234567.8, -2026, 12_345.678)
    assert [format_number(one) for one in numbers] == [
        "1984",
        "9999.5",
        "10,000",
        "1,234,568",
        "-2026",
        "12,345.7",
    ]
    assert [format_short(one) for one in (1984.0, 12_345.6, 0.12345)] == ["1984", "12,346", "0.1235"]


def test_a_metric_has_three_decimals_or_the_digits_it_needs() -> None:
    assert [format_metric(one) for one in (0, 0.3, 0.00123456, 12_345.6)] == [
        "0.000",
        "0.300",
        "0.00123",
        "12,346",
    ]


def test_a_change_is_a_share_of_what_was_before() -> None:
    assert format_change(relative_change(0.21, 0.2) or 0) == "+5.0%"
    assert format_change(relative_change(-3, -2) or 0) == "-50.0%"
    assert relative_change(1, 0) is None
    assert relative_change(1, None) is None
