"""Models in folders of one repository: a change builds those that it touches, and leaves the others alone."""

from db.states import Status
from ml.web.api.builds import describe_last_end
from tests.ml.folders.support import ALL, Monorepo, below, reader, statuses
from tests.models import working

UNTOUCHED, DEPLOYED = Status.UNTOUCHED, Status.DEPLOYED


def test_one_changed_model_of_three_is_one_build(monorepo: Monorepo) -> None:
    first = monorepo.merge(ALL)
    assert statuses(first) == {"churn": DEPLOYED, "fraud": DEPLOYED, "traffic": DEPLOYED}
    monorepo.go_live("churn")

    changed = monorepo.merge(below("models/traffic", working.quick(smape=0.2)))
    assert statuses(changed) == {"churn": UNTOUCHED, "fraud": UNTOUCHED, "traffic": DEPLOYED}
    folders = "libs/common and models/churn"
    assert changed["churn"].reason == (
        f"nothing in {folders} has changed since release {first['churn'].id}, which is live"
    )
    assert (changed["churn"].artifact, changed["churn"].path) == (None, "models/churn")
    assert first["traffic"].files != changed["traffic"].files != changed["traffic"].tree
    home = monorepo.appliance.settings.home
    exported = home / f"releases/{first['fraud'].id}/repository"
    found = sorted(str(file.relative_to(exported)) for file in exported.rglob("*") if file.is_file())
    assert found == ["libs/common/rate.txt", *sorted(below("models/fraud", reader(0.3))), "shared.txt"]
    assert not (home / f"releases/{changed['churn'].id}/source").exists()


def test_a_shared_folder_builds_all_that_name_it(monorepo: Monorepo) -> None:
    monorepo.merge(ALL)
    changed = monorepo.merge({"libs/common/rate.txt": "2"})
    assert statuses(changed) == {"churn": DEPLOYED, "fraud": DEPLOYED, "traffic": UNTOUCHED}
    changed = monorepo.merge({"shared.txt": "2"})
    assert statuses(changed) == {"churn": UNTOUCHED, "fraud": DEPLOYED, "traffic": UNTOUCHED}


def test_code_that_reads_an_unnamed_folder_fails(single: Monorepo) -> None:
    releases = single.merge({**ALL, **below("models/traffic", reader(0.3))})
    assert releases["traffic"].status is Status.REJECTED
    assert "libs/common/rate.txt" in (releases["traffic"].reason or "")


def test_what_was_superseded_is_built_by_the_next(single: Monorepo) -> None:
    single.merge(ALL)
    overtaken = single.appliance.merge(below("models/traffic", working.quick(smape=0.2)))
    newest = single.merge({"README.md": "More"})
    assert single.of_commit(overtaken)["traffic"].status is Status.SUPERSEDED
    assert statuses(newest) == {"traffic": DEPLOYED}
    assert newest["traffic"].metrics == {"SMAPE": 0.2, "rows": 2}


def test_an_unrelated_merge_brings_no_bad_code_back(single: Monorepo) -> None:
    good = single.merge(ALL)["traffic"]
    single.go_live("traffic")
    bad = single.merge(below("models/traffic", working.quick(smape=0.2)))["traffic"]
    single.go_live("traffic")
    assert single.roll_back("traffic") == good.id

    unrelated = single.merge({"README.md": "More"})["traffic"]
    assert unrelated.status is UNTOUCHED
    assert f"since release {bad.id}, which was deployed" in (unrelated.reason or "")
    again = single.merge({"README.md": "And more"})["traffic"]
    assert again.reason == unrelated.reason, "what was untouched is looked past"
    with single.appliance.sessions.begin() as session:
        warning = describe_last_end(session, "traffic", again.commit) or ""
    assert warning.startswith(f"commit {bad.commit[:8]} was rolled back, and goes live again when it passes")


def test_a_rejected_change_is_not_rejected_again(single: Monorepo) -> None:
    single.merge(ALL)
    rejected = single.merge({"models/traffic/slipway.toml": "[model]\nentry = 1\n"})["traffic"]
    assert rejected.status is Status.REJECTED
    unrelated = single.merge({"README.md": "More"})["traffic"]
    assert unrelated.status is UNTOUCHED
    assert f"since release {rejected.id}, which was rejected" in (unrelated.reason or "")


def test_a_missing_folder_is_named(single: Monorepo) -> None:
    releases = single.merge({**ALL, **dict.fromkeys(below("models/traffic", working.quick()))})
    assert releases["traffic"].status is Status.REJECTED
    reason = "models.toml has path = 'models/traffic' for traffic, and this commit has no such folder"
    assert releases["traffic"].reason == reason
