"""A model that may be trained on what its users sent, and is live."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.recorded import record_labelled
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import Appliance
from tests.models import files

OWNERS = """
[web-traffic]
repository = "acme/web-traffic"
clone_url = "{url}"
{grant}
"""
TABLE = "age,left\n1,0.2\n"
TRAINED = """
    print("age of the first:", train_data["age"].iloc[0])
    return pickle.dumps((float(train_data["left"].mean()), list(train_data.columns)))
"""
FAR = """
    return {"SMAPE": abs(pickle.loads(model)[0] - test_data["left"].mean()) / test_data["left"].mean()}
"""
GATE = "[gate]\nSMAPE = { better = 'lower', may_worsen_by = '5%' }\n"
RECORDED = "[model]\ntarget = 'left'\n[data]\ntrain = 'slipway://recorded?days=7'\n" + GATE

Live = Callable[..., Appliance]


def model(manifest: str) -> dict[str, str]:
    """A model that answers the mean of the target that it was trained on."""
    made = files(train=TRAINED, evaluate=FAR, predict="return pickle.loads(model)[0]")
    return {**made, "data/train.csv": TABLE, "data/test.csv": TABLE, "slipway.toml": manifest}


def record_world(appliance: Appliance, value: float, count: int = 100) -> list[str]:
    """Record requests whose ground truth is this value."""
    return record_labelled(appliance.sessions, appliance.model, *(({"age": n}, value) for n in range(count)))


@pytest.fixture
def live_with(make_appliance: Callable[..., Appliance], tmp_path: Path) -> Live:
    """Return a function that makes a model live that was trained on a file, with a line of models.toml."""

    def make(grant: str = "recorded = true", **variables: str) -> Appliance:
        owners = tmp_path / "models.toml"
        url = (tmp_path / "repository").as_uri()
        owners.write_text(OWNERS.format(url=url, grant=grant))
        appliance = make_appliance(SLIPWAY_REPOSITORY="", SLIPWAY_MODELS=str(owners), **variables)
        appliance.merge(model(GATE))
        appliance.settle()
        go_live(appliance)
        return appliance

    return make
