"""A model that is live, trained on data behind an address."""

from collections.abc import Callable

import pytest

from tests.harness.shelf import Shelf
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import Appliance
from tests.models import files

HEADER = "day,visits\n"
FAR = 'abs(pickle.loads(model) - test_data["visits"].mean()) / test_data["visits"].mean()'
TRAINED = 'return pickle.dumps(float(train_data["visits"].mean()))'


def model(head: str = "") -> dict[str, str]:
    """A model that says the mean of what it was trained on, and how far that is from the test data."""
    return files(train=f"{head}\n{TRAINED}", evaluate=f'return {{"SMAPE": {FAR}}}')


def rows(value: float) -> bytes:
    """Data whose only row has this value."""
    return f"{HEADER}2026-01-01,{value}\n".encode()


def manifest(shelf: Shelf, retrain: str) -> str:
    data = f'train = "{shelf.url("/train.csv")}"\ntest = "{shelf.url("/test.csv")}"'
    gate = "SMAPE = { better = 'lower', may_worsen_by = '5%' }"
    return f"[data]\n{data}\n[gate]\n{gate}\n[retrain]\n{retrain}\n"


@pytest.fixture
def live_on(make_appliance: Callable[..., Appliance], shelf: Shelf) -> Callable[..., Appliance]:
    """Return a function that makes a first release live, with these keys of [retrain]."""

    def make(retrain: str, head: str = "") -> Appliance:
        shelf.put(rows(0.2), "/train.csv")
        shelf.put(rows(0.2), "/test.csv")
        appliance = make_appliance(SLIPWAY_DATA_ALLOW="127.0.0.1", SLIPWAY_DATA_SECONDS="0.2")
        appliance.merge({**model(head), "slipway.toml": manifest(shelf, retrain)})
        appliance.settle()
        go_live(appliance)
        return appliance

    return make
