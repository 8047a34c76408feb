"""An appliance whose model is live, for pull requests that would change it."""

import pytest

from cli.up.postgres import Postgres
from tests.harness.first_release import FirstRelease
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import FIRST
from tests.ml.conftest import Appliance


@pytest.fixture(scope="module")
def first_release(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> FirstRelease:
    return FirstRelease(postgres, tmp_path_factory.mktemp("first"), FIRST)


@pytest.fixture
def live(appliance: Appliance, first_release: FirstRelease) -> Appliance:
    """One whose model has a live release."""
    first_release.begin(appliance)
    go_live(appliance)
    return appliance
