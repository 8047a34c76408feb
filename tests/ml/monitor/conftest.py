"""A live model whose training data has features as columns, and its monitor."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from db.monitor_models import DriftWindow, MonitorState
from db.retraining_models import Retraining
from tests.harness.recorded import record
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import CACHE, Appliance
from tests.models import files

FEATURES = """
    from typing import TypedDict

    class Features(TypedDict):
        age: float
        plan: str
"""
PLANS = ("free", "basic", "team")


def draw(seed: int, rows: int, shift: float = 0.0) -> list[dict[str, Any]]:
    """Rows of one world; `shift` is that of a column, in standard deviations."""
    random = Random(seed)
    return [{"age": random.gauss(40 + 10 * shift, 10), "plan": random.choice(PLANS)} for _ in range(rows)]


def to_csv(rows: list[dict[str, Any]]) -> str:
    lines = [f"{row['age']},{row['plan']},{row['age'] * 2}" for row in rows]
    return "\n".join(["age,plan,spent", *lines, ""])


def typed_model(**bodies: Any) -> dict[str, str]:
    """A regression whose features are two columns of its training data."""
    made = files(
        head=FEATURES,
        train="return pickle.dumps(2.0)",
        evaluate='return {"SMAPE": 0.1}',
        predict=bodies.pop("predict", 'return features["age"] * pickle.loads(model)'),
        info='return {"Type": "regression"}',
        **bodies,
    )
    made["main.py"] = made["main.py"].replace(
        "predict(self, model, features)", "predict(self, model, features: Features)"
    )
    return {**made, "data/train.csv": to_csv(draw(1, 3000)), "data/test.csv": to_csv(draw(2, 50))}


@dataclass
class Monitored:
    """An appliance with a live model; `run` is what the controller starts."""

    appliance: Appliance

    @property
    def model(self) -> str:
        return self.appliance.model

    def record(self, rows: list[Any], **facts: Any) -> list[str]:
        """Record rows with what the model answers to them."""
        answers = facts.pop("answers", None) or [row["age"] * 2 for row in rows]
        return record(self.appliance.sessions, self.model, *rows, answers=answers, **facts)

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ml.monitor"], capture_output=True, text=True, check=True, env=os.environ
        )

    def windows(self) -> list[DriftWindow]:
        with self.appliance.sessions.begin() as session:
            return list(session.scalars(select(DriftWindow).order_by(DriftWindow.id)))

    def state(self) -> MonitorState:
        with self.appliance.sessions.begin() as session:
            return session.get_one(MonitorState, self.model)

    def retrainings(self) -> list[Retraining]:
        with self.appliance.sessions.begin() as session:
            return list(session.scalars(select(Retraining).order_by(Retraining.id)))


@pytest.fixture
def monitored(make_appliance: Callable[..., Appliance]) -> Callable[..., Monitored]:
    """Return a function that makes a first release live, of these files, and gives its monitor."""

    def make(manifest: str = "", changes: dict[str, str] | None = None, **variables: str) -> Monitored:
        appliance = make_appliance(
            SLIPWAY_MONITOR_ENVIRONMENT=str(CACHE / "monitor" / "environment"),
            SLIPWAY_MONITOR_SECONDS="0.1",
            **variables,
        )
        appliance.merge({**typed_model(), "slipway.toml": manifest, **(changes or {})})
        appliance.settle()
        go_live(appliance)
        return Monitored(appliance)

    return make
