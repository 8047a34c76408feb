"""Predicts how many bicycles a city rents out in a day."""

import pickle
from typing import Annotated, Literal, TypedDict, get_args

import pandas as pd
from sklearn.ensemble import RandomForestRegressor

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Day(TypedDict):
    """The features of one day: requests are checked by this type, and the page's form is made from it."""

    temperature: Annotated[float, {"title": "Temperature", "unit": "°C", "minimum": -30, "maximum": 50}]
    rain: Annotated[float, {"title": "Rain", "unit": "mm", "minimum": 0, "maximum": 200}]
    weekday: Annotated[Weekday, {"title": "Day of the week"}]


class Rentals:
    def train(self, train_data: pd.DataFrame) -> bytes:
        forest = RandomForestRegressor(n_estimators=50, min_samples_leaf=3, random_state=0)
        return pickle.dumps(forest.fit(to_columns(train_data), train_data["rentals"]))

    def evaluate(self, model: bytes, test_data: pd.DataFrame) -> dict[str, float]:
        predicted = self.load(model).predict(to_columns(test_data))
        return {"MAE": float(abs(predicted - test_data["rentals"]).mean())}

    def load(self, model: bytes) -> RandomForestRegressor:
        """Called once when serving starts; predict() gets what it returns."""
        return pickle.loads(model)

    def predict(self, model: RandomForestRegressor, features: Day) -> int:
        return round(model.predict(to_columns(pd.DataFrame([features])))[0])

    def info(self) -> dict[str, str]:
        return {
            "Name": "Bicycle rentals",
            "Type": "Regression",
            "Evaluation metric": "MAE",
            "Target": "rentals",
            "Description": "How many bicycles are rented out in a day. The data is made up.",
        }


def to_columns(data: pd.DataFrame) -> pd.DataFrame:
    """Return what the forest learns from: numbers alone."""
    numbers = data["weekday"].map(get_args(Weekday).index)
    return pd.DataFrame({"temperature": data["temperature"], "rain": data["rain"], "weekday": numbers})


entry_point = Rentals()
