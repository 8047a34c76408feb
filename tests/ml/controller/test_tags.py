"""The `v*` tags of a repository: by version as PEP 440 has them, whatever git's own order says."""

from pathlib import Path

import pytest

from common.errors import UnavailableError
from ml.settings import ModelConfig
from ml.sources import git_server
from tests.harness.hostile_commits import write_references
from tests.harness.repositories import ModelRepository


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "repository")


def tags(repository: ModelRepository, *names: str) -> list[str]:
    for name in names:
        repository.git("tag", name)
    model = ModelConfig("web-traffic", "acme/web-traffic", repository.url, "main")
    return [name for name, _ in git_server.list_tags(model)]


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


@pytest.mark.parametrize("count", [60_000, 160_000])
def test_more_tags_than_can_be_read_are_refused_in_a_sentence(
    repository: ModelRepository, count: int
) -> None:
    repository.commit("Start")
    write_references(repository, "tags", count)

    with pytest.raises(UnavailableError) as caught:
        tags(repository)
    assert str(caught.value) == (
        f"{repository.url} lists more than 50,000 references refs/tags/v*, which Slipway does not read: "
        "delete old ones there"
    )
