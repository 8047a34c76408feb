"""What GitHub shows of decisions: the release of each as a GitHub deployment of its commit.

Called where a decision is made, live, failed or overruled, in the same transaction. Does nothing for a
repository that is not on GitHub.
"""

from sqlalchemy.orm import Session

from db import outbox, pull_requests
from db.models import Deployment, Release
from db.outbox import GitHubDeploymentState, SubjectKind
from db.outbox_subjects import name_comment, name_commit

UNFOLLOWED = "Not served: Slipway does not follow this model any more"


def show_wanted(session: Session, made: Deployment) -> None:
    _put(session, made.release_id, "in_progress", f"Wanted by {made.who}")


def show_live(session: Session, live: Deployment, replaced: Deployment | None) -> None:
    """Show a release as live, and the one that it replaced as not live any more."""
    release = _put(session, live.release_id, "success", "Live")
    _put_note(session, release, None)  # it may have been rolled back before
    if replaced is not None and replaced.release_id != live.release_id and live.leaves is None:
        _put(session, replaced.release_id, "inactive", f"Replaced by release {live.release_id}")


def show_failed(session: Session, failed: Deployment, reason: str, live: Deployment | None) -> None:
    """Show why a release could not start; one that is live from an earlier decision stays so."""
    if live is not None and live.release_id == failed.release_id:
        _put(session, failed.release_id, "success", "Live")
    else:
        _put(session, failed.release_id, "failure", reason)


def show_overruled(session: Session, release_id: int, live: Deployment | None) -> None:
    """Show that a release will not be live; one that is live from an earlier decision stays so."""
    if live is not None and live.release_id == release_id:
        _put(session, release_id, "success", "Live")
    else:
        _put(session, release_id, "inactive", "Not deployed: a newer decision was made")


def show_rolled_back(session: Session, left: Deployment, rollback: Deployment) -> None:
    """Show at the commit, and on its pull request, that a release was rolled back, and why."""
    what = f"olled back to release {rollback.release_id}: {rollback.why or 'no reason was given'}"
    release = _put(session, left.release_id, "inactive", f"R{what}")
    _put_note(session, release, f"Release {left.release_id} was r{what}")


def show_unfollowed(session: Session, release_id: int) -> None:
    """Show that a release is not served: its model is followed no more."""
    _put(session, release_id, "inactive", UNFOLLOWED)


def show_followed_again(session: Session, live: Deployment) -> None:
    """Show a live release as live again, where it was shown as not followed."""
    repository = session.get_one(Release, live.release_id).repository
    facts = outbox.find_facts(session, SubjectKind.DEPLOYMENT, repository, str(live.release_id))
    if facts is not None and facts["description"] == UNFOLLOWED:
        _put(session, live.release_id, "success", "Live")


def _put_note(session: Session, release: Release | None, note: str | None) -> None:
    """Put a sentence on top of the comment of a release's pull request; None takes it away."""
    if release is not None and (comment := name_comment(release)) is not None:
        outbox.put_comment_note(session, **comment, note=note)


def _put(session: Session, release_id: int, state: GitHubDeploymentState, description: str) -> Release | None:
    """Put a release's GitHub deployment into the outbox, and return the release; None if not on GitHub."""
    release = session.get_one(Release, release_id)
    if not pull_requests.is_on_github(session, release.repository):
        return None
    outbox.put_deployment(
        session,
        **name_commit(release),
        release=release.id,
        state=state,
        description=description,
        environment_url=f"/models/{release.model}" if state == "success" else None,
        log_url=f"/releases/{release.id}",
    )
    return release
