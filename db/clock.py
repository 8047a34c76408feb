"""Comparisons of times with Postgres's clock, which may be set."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_
from sqlalchemy.orm import InstrumentedAttribute


def has_come(
    moment: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None], max_ahead: timedelta
) -> ColumnElement[bool]:
    """Match times that have come, or lie more than `max_ahead` ahead: then the clock was set back since."""
    return or_(moment <= func.now(), moment > func.now() + max_ahead)
