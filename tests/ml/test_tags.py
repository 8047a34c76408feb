"""The `v*` tags of a repository: by version as PEP 440 has them, whatever git's own order says."""

from pathlib import Path

import pytest

from ml.settings import Model
from ml.stages import checkout
from tests.support.repositories import ModelRepository


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "repository")


def tags(repository: ModelRepository, *names: str) -> list[str]:
    for name in names:
        repository.git("tag", name)
    model = Model("web-traffic", "acme/web-traffic", repository.url, "main")
    return [name for name, _ in checkout.tags(model)]


def test_a_final_release_is_newer_than_its_candidates(repository: ModelRepository) -> None:
    written = [
        "v1.0.0-rc2",
        "v1.0.0",
        "v1.0.0rc10",
        "v1.0.0.post1",
        "v1.0.0-beta.1",
        "v1.0.1.dev1",
        "v1.10",
        "v1.9",
    ]
    newest_first = ["v1.10", "v1.9", "v1.0.1.dev1", "v1.0.0.post1", "v1.0.0", "v1.0.0rc10", "v1.0.0-rc2"]

    assert tags(repository, *written) == [*newest_first, "v1.0.0-beta.1"]


def test_what_is_no_version_is_older_than_any(repository: ModelRepository) -> None:
    assert tags(repository, "vision", "v0.1", "v2-final", "v10-final") == [
        "v0.1",
        "vision",
        "v10-final",
        "v2-final",
    ]
