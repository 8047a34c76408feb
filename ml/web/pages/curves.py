"""A chart with the prediction of the live release and that of a new one as two curves."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from ml.web.pages.forecast import Point, build_chart, parse_points

CUT_MARK = "…"  # ends a prediction that is not stored as a whole


@dataclass(frozen=True)
class Curves:
    features: str
    points: dict[str, Any]  # for chart.js
    cut: bool  # True when only the beginning is drawn


def find_curves(differences: dict[str, Any] | None) -> Curves | None:
    """Return the series that changed most; None where no prediction that changed is a series."""
    for row in (differences or {}).get("worst", ()):
        live, this = read_series(row["live"]), read_series(row["this"])
        if live and this and len(live) > 1:
            drawn = {**build_chart(live, this), "names": {"known": "Live then", "value": "This release"}}
            return Curves(
                row["features"], drawn, any(row[one].endswith(CUT_MARK) for one in ("live", "this"))
            )
    return None


def read_series(text: str) -> list[Point] | None:
    """Return a prediction's points, of one that is cut those before the cut."""
    if text.endswith(CUT_MARK):
        text = text[: max(0, text.rfind("],"))] + "]]"
    try:
        return parse_points(json.loads(text, parse_constant=reject_constant))
    except (ValueError, RecursionError):
        return None


def reject_constant(_: str) -> NoReturn:
    """Reject NaN and Infinity, which a chart cannot draw; raises ValueError."""
    raise ValueError
