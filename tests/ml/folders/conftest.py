"""One repository with models in folders of their own, and a library that two of them use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ml.conftest import Appliance
from tests.ml.folders.support import MODELS, TRAFFIC, Monorepo


@pytest.fixture
def make_monorepo(make_appliance: Callable[..., Appliance], tmp_path: Path) -> Callable[[str], Monorepo]:
    def make(models: str) -> Monorepo:
        file = tmp_path / "models.toml"
        file.write_text(models.format(url=(tmp_path / "repository").as_uri()))
        variables = {"SLIPWAY_MODELS": str(file), "SLIPWAY_REPOSITORY": "", "SLIPWAY_CLONE_URL": ""}
        return Monorepo(make_appliance(**variables), file)

    return make


@pytest.fixture
def monorepo(make_monorepo: Callable[[str], Monorepo]) -> Monorepo:
    """All three models are followed."""
    return make_monorepo(MODELS)


@pytest.fixture
def single(make_monorepo: Callable[[str], Monorepo]) -> Monorepo:
    """Only one is, which uses no library: its other files are anybody's."""
    return make_monorepo(TRAFFIC)
