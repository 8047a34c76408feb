"""A build makes what drift is measured against; whatever the model does there rejects no release."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.models import Release
from db.states import Status
from ml.monitor.drift.baseline import DriftBaseline
from ml.monitor.drift.baseline_file import read_baseline
from ml.paths import HomeLayout
from tests.ml.conftest import Appliance
from tests.ml.monitor.conftest import typed_model
from tests.models import files

SLOW = 'import time; time.sleep(0.1); return features["age"]'
FAULTS = {
    "it ends its process": 'import os\nif features["age"] < 35: os._exit(3)\nreturn 1.0',
    "it answers few rows": 'if features["age"] < 60: raise ValueError\nreturn 1.0',
    "it takes rows of another form": "return features[0]",
}


def build(appliance: Appliance, made: dict[str, str]) -> Release:
    commit = appliance.merge(made)
    appliance.settle()
    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    return release


def read(appliance: Appliance, release: Release) -> DriftBaseline:
    path = HomeLayout(appliance.settings.home).drift_baseline_path(release.isolation, release.id)
    baseline, digest = read_baseline(path)
    assert release.drift_baseline == digest
    return baseline


def leftovers(appliance: Appliance, release: Release) -> list[Path]:
    return list((appliance.settings.home / f"releases/{release.id}/drift").iterdir())


def test_its_columns_are_those_that_are_features(appliance: Appliance) -> None:
    """What is hidden is not among them, and no rows stay in files."""
    hidden = '[record.fields]\nplan = "drop"\n'
    release = build(appliance, {**typed_model(), "slipway.toml": hidden})
    baseline = read(appliance, release)
    assert ([column.name for column in baseline.features], baseline.rows) == (["age"], 3000)
    assert baseline.prediction is not None
    assert baseline.prediction.numbers[0] == pytest.approx(2 * (baseline.features[0].numbers[0] or 0))
    assert [file.name for file in leftovers(appliance, release)] == ["drift.json"]


def test_a_slow_model_gets_fewer_rows(appliance: Appliance) -> None:
    baseline = read(appliance, build(appliance, typed_model(predict=SLOW)))
    assert 40 < baseline.rows < 120


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_there_rejects_no_release(fault: str, appliance: Appliance) -> None:
    release = build(appliance, typed_model(predict=FAULTS[fault]))
    assert (release.drift_baseline, release.drift_source) == (None, None)
    assert "drift is measured against the first recorded requests" in appliance.log(release, "evaluate")


def test_without_names_of_features_nothing_is_run(appliance: Appliance) -> None:
    release = build(appliance, files())
    assert "features have no names: give predict()'s features a type" in appliance.log(release, "evaluate")
    assert not (appliance.settings.home / f"releases/{release.id}/drift").exists()


def test_switched_off_no_build_makes_one(make_appliance: Callable[..., Any]) -> None:
    appliance = make_appliance(SLIPWAY_MONITOR="0")
    release = build(appliance, typed_model())
    assert release.drift_baseline is None
    assert "drift" not in appliance.log(release, "evaluate")
