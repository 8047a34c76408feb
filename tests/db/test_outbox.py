"""The outbox: the newest state of each subject, due once, whoever puts it and however often."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db import outbox, outbox_delivery
from db.listener import NotificationListener
from db.outbox import CommentFacts, MetricChange
from db.states import OutboxState
from db.vcs_models import OutboxSubject

REPOSITORY = "acme/widgets"
COMMIT = "a" * 40
FOLLOWED = [REPOSITORY]


@pytest.fixture
def watch(sessions_of: Callable[[str], sessionmaker[Session]]) -> sessionmaker[Session]:
    """As the role of the services that put states."""
    return sessions_of("watch")


@pytest.fixture
def vcs(sessions_of: Callable[[str], sessionmaker[Session]]) -> sessionmaker[Session]:
    """As the role of the service that delivers them."""
    return sessions_of("vcs")


def put(sessions: sessionmaker[Session], description: str, model: str = "iris") -> None:
    with sessions.begin() as session:
        outbox.put_status(
            session,
            repository=REPOSITORY,
            commit=COMMIT,
            model=model,
            state="pending",
            description=description,
        )


def comment(sessions: sessionmaker[Session], summary: str, position: int) -> None:
    with sessions.begin() as session:
        facts = CommentFacts("success", summary, [MetricChange("smape", float("nan"), 0.3)])
        outbox.put_comment(
            session,
            repository=REPOSITORY,
            number=7,
            model="iris",
            head=COMMIT,
            position=position,
            facts=facts,
        )


def claim(sessions: sessionmaker[Session]) -> OutboxSubject | None:
    with sessions.begin() as session:
        return outbox_delivery.claim_due(session, FOLLOWED, 60)


def claimed(sessions: sessionmaker[Session]) -> OutboxSubject:
    found = claim(sessions)
    assert found is not None
    return found


def settle(sessions: sessionmaker[Session], subject: OutboxSubject, state: OutboxState) -> None:
    with sessions.begin() as session:
        outbox_delivery.settle(session, subject, state)


def only(sessions: sessionmaker[Session]) -> OutboxSubject:
    with sessions() as session:
        return session.scalars(select(OutboxSubject)).one()


def test_a_newer_state_replaces_an_undelivered_one(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    put(watch, "evaluate")

    found = claimed(vcs)
    assert (found.facts["description"], found.version) == ("evaluate", 2)
    settle(vcs, found, OutboxState.DELIVERED)
    assert claim(vcs) is None
    assert (only(vcs).state, only(vcs).delivered) == (OutboxState.DELIVERED, 2)


def test_the_same_state_again_is_not_delivered_again(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    settle(vcs, claimed(vcs), OutboxState.DELIVERED)
    put(watch, "train")

    assert claim(vcs) is None


def test_a_state_put_during_the_delivery_of_another_stays_due(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    first = claimed(vcs)
    put(watch, "evaluate")
    settle(vcs, first, OutboxState.DELIVERED)

    assert only(vcs).delivered == 1
    assert claimed(vcs).facts["description"] == "evaluate"


def test_a_failure_does_not_defer_a_state_put_meanwhile(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    first = claimed(vcs)
    put(watch, "evaluate")
    with vcs.begin() as session:
        outbox_delivery.defer(session, first, 900, "GitHub has an error")

    assert claimed(vcs).facts["description"] == "evaluate"


def test_a_claimed_subject_is_nobody_elses_until_the_lease_ends(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    assert claimed(vcs).attempts == 1
    assert claim(vcs) is None
    with vcs.begin() as session:
        session.execute(update(OutboxSubject).values(due_at=func.now()))

    assert claimed(vcs).attempts == 2


def test_an_older_head_does_not_overwrite_a_newer_ones_comment(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    comment(watch, "newer head", position=12)
    comment(watch, "older head", position=11)
    assert only(vcs).facts["summary"] == "newer head"

    comment(watch, "newer head, at its end", position=12)
    assert (only(vcs).facts["summary"], only(vcs).version) == ("newer head, at its end", 2)


def test_a_closed_subject_keeps_its_state_and_is_never_due(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    comment(watch, "first", position=1)
    first = claimed(vcs)
    comment(watch, "second", position=2)
    settle(vcs, first, OutboxState.CLOSED)
    comment(watch, "third", position=3)

    assert claim(vcs) is None
    assert only(vcs).facts["summary"] == "third"


def test_a_note_is_added_to_the_comment_and_to_nothing_else(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    for number in (7, 8):
        with watch.begin() as session:
            outbox.put_comment_note(
                session, repository=REPOSITORY, number=number, model="iris", note="rolled back"
            )
        comment(watch, "better", position=1)

    assert only(vcs).facts == only(vcs).facts | {"summary": "better", "number": 7}
    with watch.begin() as session:
        outbox.put_comment_note(session, repository=REPOSITORY, number=7, model="iris", note="rolled back")
    assert only(vcs).facts == only(vcs).facts | {"summary": "better", "note": "rolled back"}


def test_a_change_that_is_taken_back_is_not_delivered(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    with watch() as session:
        outbox.put_deployment(
            session, repository=REPOSITORY, release=3, commit=COMMIT, model="iris", state="success"
        )
        session.rollback()

    assert claim(vcs) is None


def test_a_repository_that_is_not_followed_is_not_delivered(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    put(watch, "train")
    with vcs.begin() as session:
        assert outbox_delivery.claim_due(session, ["acme/others"], 60) is None
        assert outbox_delivery.find_seconds_until_due(session, ["acme/others"]) is None


def test_a_put_wakes_who_delivers(watch: sessionmaker[Session], url_of: Callable[[str], str]) -> None:
    listener = NotificationListener(url_of("vcs"), outbox.CHANNEL)
    assert listener.wait(10)  # connected
    assert not listener.wait(0)
    put(watch, "train")

    assert listener.wait(10)
    listener.close()


def test_a_refusal_is_shown_once_for_all_subjects(
    watch: sessionmaker[Session], vcs: sessionmaker[Session]
) -> None:
    for model in ("iris", "prices"):
        put(watch, "train", model)
        with vcs.begin() as session:
            found = outbox_delivery.claim_due(session, FOLLOWED, 60)
            assert found is not None
            outbox_delivery.defer(session, found, 3600, "no right", is_refused=True)
    with vcs.begin() as session:
        assert outbox_delivery.list_errors(session, FOLLOWED) == ["no right"]
        assert outbox_delivery.claim_due(session, FOLLOWED, 60) is None

        outbox_delivery.retry_refused(session)  # with another token
    assert claim(vcs) is not None


def test_a_single_failure_is_not_shown(watch: sessionmaker[Session], vcs: sessionmaker[Session]) -> None:
    put(watch, "train")
    for tries in range(1, outbox_delivery.SHOWN_ATTEMPTS + 1):
        with vcs.begin() as session:
            found = outbox_delivery.claim_due(session, FOLLOWED, 60)
            assert found is not None
            outbox_delivery.defer(session, found, 0, "GitHub has an error")
            shown = outbox_delivery.list_errors(session, FOLLOWED)
        assert shown == (["GitHub has an error"] if tries == outbox_delivery.SHOWN_ATTEMPTS else [])


def test_old_statuses_are_deleted_and_comments_are_not(
    watch: sessionmaker[Session], vcs: sessionmaker[Session], sessions: sessionmaker[Session]
) -> None:
    put(watch, "train")
    comment(watch, "first", position=1)
    put(watch, "not delivered", "prices")
    for _ in range(2):
        settle(vcs, claimed(vcs), OutboxState.DELIVERED)
    with sessions.begin() as session:
        session.execute(
            update(OutboxSubject).values(changed_at=func.now() - outbox_delivery.STATUSES_KEPT * 2)
        )
    with vcs.begin() as session:
        outbox_delivery.prune(session)

    with sessions() as session:
        kinds = session.scalars(select(OutboxSubject.kind).order_by(OutboxSubject.kind)).all()
    assert kinds == ["comment"]


def test_a_time_far_ahead_is_due(watch: sessionmaker[Session], vcs: sessionmaker[Session]) -> None:
    """Postgres's clock was set back."""
    put(watch, "train")
    with vcs.begin() as session:
        session.execute(update(OutboxSubject).values(due_at=func.now() + outbox_delivery.MAX_PAUSE * 3))

    assert claim(vcs) is not None


def test_a_long_log_is_cut_at_its_beginning(watch: sessionmaker[Session], vcs: sessionmaker[Session]) -> None:
    with watch.begin() as session:
        facts = CommentFacts("failure", "it failed", log=[f"line {n} " + "x" * 10_000 for n in range(5000)])
        outbox.put_comment(
            session, repository=REPOSITORY, number=7, model="iris", head=COMMIT, position=1, facts=facts
        )

    log = only(vcs).facts["log"]
    assert len(log) == outbox.MAX_LOG_LINES
    assert log[-1].startswith("line 4999")
    assert max(map(len, log)) == outbox.MAX_LINE_CHARS + 1
