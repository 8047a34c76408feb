"""Forecasts how many visits the encyclopedia will have a day, from the calendar."""

import pickle
from typing import Annotated

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

TREES = 60
LEAF = 4  # a leaf of a tree holds at least so many days
FEATURES = ["weekday"]
GROWTH = 0  # degree of the curve that the forest sees the visits relative to; 0: their mean
LONGEST = 3660  # days
Days = Annotated[
    int,
    {
        "title": "Number of days",
        "description": "to forecast, from the day after the last one that is known",
        "minimum": 1,
        "maximum": LONGEST,
    },
]


class Forecaster:
    def train(self, train_data):
        visits = visits_a_day(train_data)
        print(f"{len(train_data)} pages, {len(visits)} days from {visits.index[0]:%Y-%m-%d}")
        forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
        curve = np.polyfit(day_numbers(visits.index), visits, GROWTH)
        forest.fit(calendar(visits.index), visits / np.polyval(curve, day_numbers(visits.index)))
        print(f"{TREES} trees know a day by its {' and '.join(FEATURES)}")
        return pickle.dumps({"forest": forest, "curve": curve, "last_day": visits.index[-1]})

    def evaluate(self, model, test_data):
        visits = visits_a_day(test_data)
        expected = forecast(pickle.loads(model), visits.index)
        print(f"compared with {len(visits)} days from {visits.index[0]:%Y-%m-%d}")
        return {
            "SMAPE": np.mean(2 * np.abs(expected - visits) / (np.abs(expected) + np.abs(visits))),
            "MAE": np.mean(np.abs(expected - visits)),
        }

    def predict(self, model, features: Days):
        days = number_of_days(features)
        model = pickle.loads(model)
        dates = pd.date_range(model["last_day"], periods=days + 1, freq="D")[1:]
        return list(zip(dates, forecast(model, dates)))

    def examples(self):
        return [7, 30, 365]

    def history(self, train_data):
        return visits_a_day(train_data)

    def info(self):
        return {
            "Name": "Visits of an encyclopedia",
            "Type": "Time series regressor",
            "Evaluation metric": "SMAPE",
            "Description": "How many visits all pages together will have on each of the next days.",
            "Features": "number of days",
            "Data": "synthetic: a program made it up, and there is no such encyclopedia",
            "Author": "Ada Example",
        }


def number_of_days(features):
    try:
        days = int(features)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"features is the number of days to forecast, not {features!r}") from None
    if not 1 <= days <= LONGEST:
        raise ValueError(f"between 1 and {LONGEST} days can be forecast, not {days}")
    return days


def visits_a_day(data):
    """The wide table, a row a page and a column a day, as one series."""
    days = data.drop(columns="Page").sum()
    days.index = pd.to_datetime(days.index)
    return days


def calendar(days):
    known = {
        "weekday": days.dayofweek,
        "month": days.month,
        "week": days.isocalendar().week.to_numpy(),
        "day of year": days.dayofyear,
    }
    return np.column_stack([known[name] for name in FEATURES])


def day_numbers(days):
    return (days - pd.Timestamp("2023-01-01")).days.to_numpy()


def forecast(model, days):
    level = np.polyval(model["curve"], day_numbers(days))
    return np.maximum(0, level * model["forest"].predict(calendar(days)))


entry_point = Forecaster()
