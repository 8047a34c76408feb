"""Pull requests as GitHub and Singer have them: opened, merged and closed."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from db import checks
from db.models import Release
from db.states import Trigger
from tests.harness.repositories import Files
from tests.ml.conftest import Appliance
from tests.models import working

GATE = "[gate]\nSMAPE = { better = 'lower', may_worsen_by = '5%' }\n"
FIRST = {**working.quick(smape=0.20), "slipway.toml": GATE}


def show(appliance: Appliance, number: int, head: str, **fields: Any) -> None:
    """Store an open pull request as Singer does, from the own repository unless `fields` say so."""
    row = {"state": "open", "head": head, "head_repository_id": 1, "base_repository_id": 1, **fields}
    with appliance.sessions.begin() as session:
        session.execute(
            text("""
                INSERT INTO vcs.pull_requests
                    (id, _sdc_repository, number, state, title, base_ref, head_sha, head_repository_id,
                     base_repository_id, user_id, head_owner_id)
                VALUES (:number, :repository, :number, :state, 'A change', 'main', :head, :head_repository_id,
                        :base_repository_id, 7, 8)
                ON CONFLICT (id) DO UPDATE SET state = excluded.state, head_sha = excluded.head_sha
            """),
            {"number": number, "repository": appliance.settings.list_models()[0].repository, **row},
        )


def close(appliance: Appliance, number: int, commit: str) -> None:
    """Store that a pull request was merged, later than those of smaller numbers."""
    at = appliance.began.replace(year=2030) + timedelta(minutes=number)
    with appliance.sessions.begin() as session:
        session.execute(
            text("""
                UPDATE vcs.pull_requests SET state = 'closed', merged_at = :at, merge_commit_sha = :commit
                WHERE number = :number
            """),
            {"number": number, "commit": commit, "at": at},
        )


def propose(appliance: Appliance, number: int, files: Files) -> Release:
    """Open a pull request, and build its check."""
    head = appliance.repository.propose(number, files)
    show(appliance, number, head)
    appliance.settle()
    return appliance.release(head)


def merge(appliance: Appliance, number: int, how: str) -> Release:
    """Merge a proposed pull request at GitHub in one of its three ways, and build that."""
    repository, branch = appliance.repository, f"pull-request-{number}"
    if how == "merge":
        repository.git("merge", "--quiet", "--no-ff", "--message=Merge", branch)
    elif how == "squash":
        repository.git("merge", "--quiet", "--squash", branch)
        repository.commit("Squashed")
    else:
        repository.git("cherry-pick", "--allow-empty", branch)
        repository.git("commit", "--quiet", "--amend", "--message=Rebased")
    close(appliance, number, repository.head)
    appliance.settle()
    return appliance.release(repository.head)


def stages(appliance: Appliance, release: Release) -> dict[str, str]:
    with appliance.sessions.begin() as session:
        rows = session.execute(
            text("SELECT name, outcome FROM stages WHERE release_id = :id ORDER BY id"), {"id": release.id}
        )
        return {row.name: row.outcome for row in rows}


def approve(appliance: Appliance, number: int, head: str) -> None:
    """Let a fork's head be built, as an operator does."""
    repository = appliance.settings.list_models()[0].repository
    with appliance.sessions.begin() as session:
        pulls = checks.list_open(session, repository, "main")
        checks.approve(session, appliance.model, number, head, pulls=pulls, who="dana")


def list_checks(appliance: Appliance) -> list[Release]:
    return [release for release in appliance.releases() if release.trigger is Trigger.CHECK]
