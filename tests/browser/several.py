"""An appliance with several models, for the screenshots of what the demo, which has one, cannot show."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from cli.up.postgres import Postgres
from db import migrate
from db.models import Release, Stage
from db.session import create_sessionmaker
from db.states import Status
from ml.settings import MlSettings
from tests.conftest import FAST
from tests.harness.repositories import ModelRepository
from tests.ml.serving.support import Shop, main_py

FLAT = """
    from dataclasses import dataclass

    @dataclass
    class Room:
        kind: typing.Literal["kitchen", "bath", "bedroom"]
        area: float

    @dataclass
    class Flat:
        district: typing.Literal["north", "south"]
        lift: bool
        rooms: list[Room]
"""
RENT = "return 12.5 * sum(room.area for room in features.rooms) + 90 * features.lift"
TARGET = {"target": {"column": "rent", "min": 410, "median": 980, "max": 2750}}
INFO = {
    "rents": {"Name": "Rents", "Type": "Regressor", "Evaluation metric": "MAE"},
    "churn": {"Name": "Who leaves", "Type": "Classifier", "Evaluation metric": "AUC"},
    "parcels": {"Name": "Parcels a day", "Type": "Time series", "Evaluation metric": "SMAPE"},
}


@contextmanager
def several(folder: Path) -> Iterator[str]:
    """Its address. Of three models two are live, one of these is being built, and one has no merge yet."""
    with serving(folder) as shop:
        publish(shop)
        yield shop.url


@contextmanager
def serving(folder: Path) -> Iterator[Shop]:
    """A shop of these models outside of tests, with a Postgres of its own."""
    postgres = Postgres(folder / "postgres", settings=FAST).start()
    repository = ModelRepository(folder / "repository")
    models = folder / "models.toml"
    models.write_text(
        "".join(f'[{name}]\nrepository = "acme/{name}"\nclone_url = "{repository.url}"\n' for name in INFO)
    )
    told = {
        "DATABASE_URL": postgres.database_url(),
        "SLIPWAY_HOME": str(folder / "home"),
        "SLIPWAY_MODELS": str(models),
        "SLIPWAY_REPOSITORY": "",
    }
    try:
        migrate.upgrade_schema(postgres.database_url())
        with patch.dict(os.environ, told):
            settings = MlSettings()  # type: ignore[call-arg]
        with Shop(settings, create_sessionmaker(postgres.database_url()), repository).serving() as shop:
            yield shop
    finally:
        postgres.stop()


def publish(shop: Shop) -> None:
    shop.model = "rents"
    for number, mae in enumerate((171.0, 139.0, 118.5)):
        source = main_py(RENT, head=FLAT + f"    CHANGE = {number}\n", features="features: Flat")
        shop.publish(source, kind="regression", info=INFO["rents"], metrics={"MAE": mae}, known=TARGET)
    shop.model = "churn"
    for number, auc in enumerate((0.71, 0.78, 0.83)):
        source = main_py(f"return {{'stays': 0.{80 + number}, 'leaves': 0.{20 - number}}}")
        shop.publish(source, kind="classification", info=INFO["churn"], metrics={"AUC": auc})
    with shop.sessions.begin() as session:
        facts = {"repository": "acme/churn", "model": "churn"}
        reason = "AUC 0.640, release 1 has 0.830 (may worsen by 5%)"
        session.add(
            Release(**facts, commit="a" * 40, status=Status.REJECTED, reason=reason, metrics={"AUC": 0.64})
        )
        building = Release(**facts, commit="b" * 40, status=Status.BUILDING)
        session.add(building)
        session.flush()
        session.add(Stage(release_id=building.id, name="train"))
