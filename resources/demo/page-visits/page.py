"""Says how many visits one page of the encyclopedia will have on a day."""

import pickle
from typing import Annotated, TypedDict

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

LABELS = ["topic", "weekday", "source"]


class Page(TypedDict):
    topic: Annotated[str, {"title": "Topic", "description": "such as History or Music"}]
    weekday: Annotated[
        int, {"title": "Day of the week", "description": "0 is Monday", "minimum": 0, "maximum": 6}
    ]
    source: Annotated[
        str, {"title": "Source", "description": "where its readers come from: search, link or app"}
    ]
    links: Annotated[int, {"title": "Links", "description": "from other pages to this one", "minimum": 0}]


class PageVisits:
    def train(self, train_data):
        known = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), LABELS), remainder="passthrough"
        )
        model = make_pipeline(known, LinearRegression())
        model.fit(features_of(train_data), np.log1p(train_data["visits"]))
        print(f"{len(train_data)} pages, {(train_data['source'] == 'app').mean():.0%} of them from the app")
        return pickle.dumps(model)

    def evaluate(self, model, test_data):
        expected, visits = visits_of(pickle.loads(model), test_data), test_data["visits"]
        return {
            "SMAPE": np.mean(2 * np.abs(expected - visits) / (np.abs(expected) + np.abs(visits))),
            "MAE": np.mean(np.abs(expected - visits)),
        }

    def load(self, model):
        return pickle.loads(model)

    def predict(self, model, features: Page):
        return round(float(visits_of(model, pd.DataFrame([features]))[0]), 1)

    def examples(self):
        return [{"topic": "History", "weekday": 0, "source": "search", "links": 30}]

    def info(self):
        return {
            "Name": "Visits of a page",
            "Type": "Regression",
            "Evaluation metric": "SMAPE",
            "Description": "How many visits one page will have on a day.",
            "Target": "visits",
            "Data": "synthetic: a program made it up, and there is no such encyclopedia",
            "Author": "Ben Example",
        }


def features_of(data):
    return data[[*LABELS, "links"]].assign(links=np.log1p(data["links"]))


def visits_of(model, data):
    return np.expm1(model.predict(features_of(data)))


entry_point = PageVisits()
