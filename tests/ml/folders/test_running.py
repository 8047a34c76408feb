"""What becomes of a release in a folder once it is built: restored, trained again, shown and cleared."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, releases, retrainings
from db.models import Release
from db.retraining_models import Retraining
from db.retrainings import Occasion
from db.states import RetrainingState, Status, Trigger
from ml.mlflow_sync import pyfunc
from ml.paths import HomeLayout
from ml.runtime import invoke
from ml.runtime.materialize import materialize_release
from ml.sandbox import rmtree
from ml.sources.git_export import remove_export
from ml.stage_log import discard
from tests.ml.folders.support import ALL, LIBRARY, Monorepo, below, reader
from tests.models import working


def test_a_source_that_is_gone_is_fetched_with_its_own_path(
    make_monorepo: Callable[[str], Monorepo], tmp_path: Path
) -> None:
    """models.toml has another path by then; the model still reads the folders that it was built with."""
    monorepo = make_monorepo(LIBRARY)
    built = monorepo.merge(ALL)["churn"]
    home = HomeLayout(monorepo.appliance.settings.home)
    source = home.source_path(built.id)
    remove_export(source)
    rmtree.remove_tree(home.scratch_path(built.id))
    monorepo.restart(
        monorepo.models_file.read_text().replace('paths = ["libs/common"]', "").replace("models/churn", "x")
    )
    (model,) = monorepo.appliance.settings.list_models()
    assert (model.path, model.paths) == ("x", ())

    ready = materialize_release(monorepo.appliance.settings, model, built, discard)
    assert source.readlink().as_posix() == "repository/models/churn"
    assert ready.runtime.export == source.with_name("repository").resolve()
    data = {"path": str(source / "data/test.csv"), "format": "csv"}
    question = {"data": data, "has_rows": True, **ready.to_request()}
    log, folder = tmp_path / "log", tmp_path / "evaluate"
    found = invoke.invoke("evaluate", question, runtime=ready.runtime, folder=folder, log=log, timeout=60)
    assert found["metrics"]["SMAPE"] == 0.3

    written = tmp_path / "pyfunc"
    written.mkdir()
    artifact = home.artifact_path("churn", built.id)
    pyfunc.write_model(built, source, artifact, written, run="r", model="m", mlflow="3.0.0")
    assert json.loads((written / "slipway/slipway.json").read_text())["path"] == "models/churn"
    with zipfile.ZipFile(written / "slipway/repository.zip") as archive:
        assert {"libs/common/rate.txt", "models/churn/main.py"} <= set(archive.namelist())


def test_a_merge_elsewhere_ends_no_retraining(single: Monorepo) -> None:
    live = single.merge(ALL)["traffic"]
    single.go_live("traffic")
    occasion = Occasion(Trigger.DATA, "new", "the data has changed")
    with single.appliance.sessions.begin() as session:
        deployments.lock_model(session, "traffic")
        made = retrainings.suggest(session, "traffic", occasion)
        assert made is not None

    def find_state() -> RetrainingState:
        with single.appliance.sessions.begin() as session:
            return session.scalars(select(Retraining.state)).one()

    assert single.merge({"README.md": "More"})["traffic"].status is Status.UNTOUCHED
    assert find_state() is RetrainingState.SUGGESTED
    changed = single.merge(below("models/traffic", working.quick(smape=0.2)))["traffic"]
    assert changed.status is Status.DEPLOYED
    assert find_state() is RetrainingState.SUGGESTED
    single.go_live("traffic")
    assert find_state() is RetrainingState.SUPERSEDED
    assert live.files != changed.files


def test_an_untouched_release_hides_none_that_waits(single: Monorepo) -> None:
    def make(number: int, status: Status) -> Release:
        return Release(
            model="traffic",
            repository="acme/models",
            commit=f"{number:040}",
            status=status,
            trigger=Trigger.MERGE,
            finished_at=datetime.now(UTC),
        )

    with single.appliance.sessions.begin() as session:
        session.add_all([make(1, Status.PASSED), make(2, Status.UNTOUCHED)])
        session.flush()
        shown = releases.list_newest_by_model(session, ["traffic"], 5)["traffic"]
        assert [release.status for release in shown] == [Status.PASSED]
        listed = releases.list_releases(session, "traffic")
        assert [release.status for release in listed] == [Status.UNTOUCHED, Status.PASSED]
        of_commits = releases.find_by_commits(session, "acme/models", [f"{2:040}"])
        assert of_commits[f"{2:040}"].status is Status.UNTOUCHED


@pytest.mark.parametrize("judged", [Status.DEPLOYED, Status.PASSED, Status.REJECTED])
def test_only_what_was_judged_is_compared_with(sessions: sessionmaker[Session], judged: Status) -> None:
    """What failed or was cancelled has its files on record, and is built again."""
    others = (Status.FAILED, Status.CANCELLED, Status.SUPERSEDED, Status.UNTOUCHED)
    facts = {"model": "m", "repository": "a/m", "trigger": Trigger.MERGE, "files": "same"}
    with sessions.begin() as session:
        made = [
            Release(commit=f"{position:040}", position=position, status=status, **facts)
            for position, status in enumerate((judged, *others, Status.BUILDING, judged))
        ]
        session.add_all(made)
        session.flush()
        assert releases.find_last_judged(session, made[-2]) is made[0]
        assert releases.find_last_judged(session, made[0]) is None
        manual = Release(commit="m", status=Status.QUEUED, **facts)
        assert releases.find_last_judged(session, manual) is None


def test_data_may_lie_in_a_named_folder_and_nowhere_else(make_monorepo: Callable[[str], Monorepo]) -> None:
    monorepo = make_monorepo(LIBRARY)
    files = below("models/churn", reader(0.3))
    data = {
        f"libs/common/{name}.csv": files.pop(f"models/churn/data/{name}.csv") for name in ("train", "test")
    }
    named = "[data]\ntrain = '../../libs/common/train.csv'\ntest = '../../libs/common/test.csv'\n"
    toml = {"models/churn/slipway.toml": named, "libs/common/rate.txt": "1"}
    found = monorepo.merge({**files, **data, **toml})["churn"]
    assert (found.status, found.reason) == (Status.DEPLOYED, None)
    assert found.data is not None
    assert found.data["train"]["from"] == "../../libs/common/train.csv in the repository"

    outside = {
        "models/churn/slipway.toml": named.replace("../../libs/common/train", "../../../logs/checkout")
    }
    found = monorepo.merge({name: text.replace(".csv", ".log") for name, text in outside.items()})["churn"]
    assert found.status is Status.REJECTED
    assert "checkout.log" in (found.reason or "")
