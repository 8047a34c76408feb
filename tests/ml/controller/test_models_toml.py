"""`models.toml` names several models; with one, the environment is enough; both at once is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import release_queue
from db.states import Status, Trigger
from ml.controller.reconciler import Reconciler
from ml.manifest import MetricRule
from ml.settings import MlSettings
from tests.harness.repositories import ModelRepository
from tests.ml.conftest import Appliance
from tests.models import working

TWO = """
[web-traffic]
repository = "acme/web-traffic"
clone_url = "https://git.example.com/web-traffic.git"
branch = "production"
[web-traffic.gate]
SMAPE = { max = 0.6 }
[web-traffic.resources]
memory = "2GiB"

[churn]
repository = "acme/Churn"
"""


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLIPWAY_REPOSITORY", "SLIPWAY_MODELS", "SLIPWAY_BRANCH", "SLIPWAY_CLONE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/slipway")
    monkeypatch.chdir(tmp_path)


def settings() -> MlSettings:
    return MlSettings()


def test_several_models_are_named_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(TWO)

    traffic, churn = settings().list_models()

    assert (traffic.name, traffic.repository, traffic.branch) == (
        "web-traffic",
        "acme/web-traffic",
        "production",
    )
    assert traffic.clone_url == "https://git.example.com/web-traffic.git"
    assert traffic.operator_gate.metrics == {"SMAPE": MetricRule(max=0.6)}
    assert traffic.resources.memory == 2 << 30
    assert (churn.name, churn.branch) == ("churn", "main")
    assert churn.clone_url == "https://github.com/acme/Churn.git"
    assert not churn.operator_gate.metrics


def test_the_file_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(TWO)
    monkeypatch.setenv("SLIPWAY_MODELS", str(tmp_path / "elsewhere.toml"))

    assert [model.name for model in settings().list_models()] == ["web-traffic", "churn"]


def test_a_file_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_MODELS", "/nowhere/models.toml")

    with pytest.raises(SystemExit, match=r"SLIPWAY_MODELS names /nowhere/models\.toml, which is not there"):
        settings().list_models()


def test_with_one_model_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().list_models() == []

    monkeypatch.setenv("SLIPWAY_REPOSITORY", "acme/Web-Traffic")
    monkeypatch.setenv("SLIPWAY_BRANCH", "production")

    (model,) = settings().list_models()
    assert (model.name, model.repository, model.branch) == ("web-traffic", "acme/Web-Traffic", "production")


def test_both_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(TWO)
    monkeypatch.setenv("SLIPWAY_REPOSITORY", "acme/web-traffic")

    with pytest.raises(SystemExit, match=r"SLIPWAY_REPOSITORY is set and models\.toml is there"):
        settings().list_models()


def test_models_take_turns_and_a_removed_one_keeps_its_records(
    make_appliance: Callable[..., Appliance], sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    appliance = make_appliance(SLIPWAY_MODELS=str(models), SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="")
    other = ModelRepository(tmp_path / "other")
    traffic = f'[traffic]\nrepository = "acme/traffic"\nclone_url = "{appliance.repository.url}"\n'
    models.write_text(f'{traffic}[churn]\nrepository = "acme/churn"\nclone_url = "{other.url}"\n')
    first = appliance.merge(working.quick(value=1))
    second = other.merge_pull_request(50, working.quick(value=2))
    appliance.ingest(50, second, repository="acme/churn")
    appliance.settle()

    found = {release.model: (release.commit, release.status) for release in appliance.releases()}
    assert found == {"traffic": (first, Status.DEPLOYED), "churn": (second, Status.DEPLOYED)}

    models.write_text(traffic)
    appliance.lookout = Reconciler(settings(), sessions)  # a new start
    third = other.merge_pull_request(51, working.quick(value=3))
    appliance.ingest(51, third, repository="acme/churn")
    appliance.settle()

    assert {release.commit for release in appliance.releases()} == {first, second}
    assert (appliance.settings.home / "artifacts/churn").exists()


def test_a_removed_models_releases_wait_until_it_is_back(
    make_appliance: Callable[..., Appliance],
    sessions: sessionmaker[Session],
    tmp_path: Path,
    lines: list[str],
) -> None:
    models = tmp_path / "models.toml"
    appliance = make_appliance(SLIPWAY_MODELS=str(models), SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="")
    other = '[other]\nrepository = "acme/other"\n'
    churn = f'[churn]\nrepository = "acme/churn"\nclone_url = "{appliance.repository.url}"\n'
    commit = appliance.repository.merge_pull_request(1, working.quick())
    with sessions.begin() as session:
        release_queue.queue_release(session, "churn", "acme/churn", commit, Trigger.MANUAL)

    models.write_text(other)
    lookout = Reconciler(settings(), sessions)
    for _ in range(2):
        lookout.reconcile()
    waiting = appliance.release(commit)
    assert (waiting.status, waiting.reason) == (Status.QUEUED, release_queue.UNFOLLOWED_REASON)
    assert [line for line in lines if release_queue.UNFOLLOWED_REASON in line] == [
        f"release {waiting.id} of churn waits: {release_queue.UNFOLLOWED_REASON}\n"
    ]

    models.write_text(other + churn)
    appliance.lookout = Reconciler(settings(), sessions)
    appliance.settle()
    assert appliance.release(commit).status is Status.DEPLOYED


def test_one_repository_may_hold_two_models_on_two_branches(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(
        '[stable]\nrepository = "acme/churn"\n[next]\nrepository = "acme/churn"\nbranch = "next"\n'
    )

    assert [(m.name, m.repository, m.branch) for m in settings().list_models()] == [
        ("stable", "acme/churn", "main"),
        ("next", "acme/churn", "next"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[web", "models.toml cannot be read: "),
        ("", "models.toml names no model"),
        ("[web]\n", "models.toml: web.repository: Field required"),
        ("[web]\nrepository = 'web'\n", "models.toml: web.repository: "),
        ("[web]\nrepository = 'a/b'\nbrunch = 'x'\n", "web.brunch: is not a known key"),
        ("[Web]\nrepository = 'a/b'\n", "[Web] names addresses and folders"),
        ("['../web']\nrepository = 'a/b'\n", "[../web] names addresses and folders"),
        ("[web]\nrepository = 'a/b'\n[web]\nrepository = 'a/c'\n", "models.toml cannot be read: "),
        ("[web]\nrepository = 'a/b'\ngate.R2 = { min = 'x' }\n", "in [web]: gate.R2.min: "),
        ("[web]\nrepository = 'a/b'\nresources.memory = 4\n", "in [web]: resources.memory: has to be a size"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "models.toml").write_text(text)

    with pytest.raises(SystemExit) as end:
        settings().list_models()

    assert said in str(end.value)
    assert "\n" not in str(end.value)
