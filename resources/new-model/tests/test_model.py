"""Tests of the model, trained here on the data of this commit."""

import pandas as pd
from main import entry_point

TRAINED = entry_point.train(pd.read_csv("data/train.csv"))


def predict(temperature, rain, weekday):
    day = {"temperature": temperature, "rain": rain, "weekday": weekday}
    return entry_point.predict(entry_point.load(TRAINED), day)


def test_more_people_rent_on_a_warm_dry_day():
    assert predict(24.0, 0.0, "wed") > predict(1.0, 12.0, "wed")


def test_a_prediction_is_a_plausible_number():
    assert 0 <= predict(-10.0, 50.0, "sun") < 1000


def test_the_error_is_small():
    metrics = entry_point.evaluate(TRAINED, pd.read_csv("data/test.csv"))

    assert metrics["MAE"] < 60
