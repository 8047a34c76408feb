"""What is promised of decisions holds after each step of merges, builders, operators and serve, in any order.

The gate and serve read in two steps and write in a third, so that anything may come between. What breaks a
promise is printed as its steps, with a seed: `--hypothesis-seed` finds it again.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import select
from sqlalchemy.orm import Session, load_only, sessionmaker

from db import claims, deployments, release_queue, releases, retrainings, rollbacks
from db.claims import Claim, Deployed, Finished, Retry
from db.deployments import ConflictError, DeploymentSnapshot, RefusedError
from db.models import Deployment, Quarantine, Release
from db.pull_requests import Accepted
from db.retraining_models import Retraining
from db.retrainings import Occasion
from db.session import open_snapshot
from db.states import RETRAIN_TRIGGERS, Cause, DeploymentState, RetrainingState, Status, Trigger

Sessions = sessionmaker[Session]
BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)
MODELS = count(1)
OCCASIONS = count(1)
SHORT = load_only(
    *(Release.model, Release.commit, Release.pull_request, Release.status, Release.token, Release.attempts),
    *(Release.position, Release.hold, Release.trigger, Release.pruned_at, Release.ref),
    *(Release.artifact, Release.created_at),
)
ANY = st.integers(0, 99)  # which of those that there are


@dataclass(frozen=True)
class Builder:
    """A builder that holds a release, or that believes so; `seen` once its gate has looked."""

    claim: Claim
    compared: int | None = None  # the deployment that its gate held it against
    seen: DeploymentSnapshot | None = None


@dataclass(frozen=True)
class Look:
    """A gate's look that has read what stands, and has what was decided still to read."""

    builder: Builder
    session: Session
    compared: int | None
    close: Callable[[], None]


class Decisions(RuleBasedStateMachine):
    """One model's, each run's own."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions, self.model = sessions, f"m{next(MODELS)}"
        self.merges: list[Accepted] = []
        self.builders: list[Builder] = []
        self.gate: Look | None = None  # one at a time
        self.live: Deployment | None = None  # as serve has read it
        self.starting: Deployment | None = None  # what serve is bringing up
        self.ended: dict[int, DeploymentState] = {}  # deployments that were live, failed or overruled
        self.states: dict[tuple[str, int], Status | DeploymentState] = {}
        self.statuses: set[Status] = set()  # of all releases, after the last step

    @contextmanager
    def begin(self) -> Iterator[Session]:
        with self.sessions.begin() as session:
            yield session

    def made(self, session: Session, *statuses: Status) -> list[Release]:
        query = select(Release).where(Release.model == self.model).order_by(Release.id).options(SHORT)
        return list(session.scalars(query.where(Release.status.in_(statuses)) if statuses else query))

    def decisions(self, session: Session) -> list[Deployment]:
        query = select(Deployment).where(Deployment.model == self.model).order_by(Deployment.id)
        return list(session.scalars(query))

    @initialize(count=st.integers(2, 4))
    def some_releases_went_live(self, count: int) -> None:
        for _ in range(count):
            self.merge_and_pass()
            self.serve_reads_what_is_live()
            self.serve_reads_what_is_wanted()
            self.serve_switches()

    # merges, and the controller

    @rule(several=st.integers(1, 2), begin=st.booleans())
    def merge(self, several: int, begin: bool = False) -> None:
        for _ in range(several):
            number = len(self.merges) + 1
            at = BEGAN + timedelta(minutes=number)
            self.merges.insert(0, Accepted("a/m", number, None, None, f"{self.model}-{number}", at))
        with self.begin() as session:
            release_queue.queue_merges(session, self.model, self.merges)
        if begin:
            self.take(0)
            if self.builders and self.gate is None:
                self.gate = self.begin_look(self.builders[-1])

    @rule(meanwhile=st.sampled_from(("nothing", "deploy", "roll back", "withdraw", "switch")), which=ANY)
    def merge_and_pass(self, meanwhile: str = "nothing", which: int = 0) -> None:
        """Merge, build and pass, beside whatever else is built, with one step between the gate's reads."""
        self.merge(1)
        self.take(-1)
        with closing(self.begin_look(self.builders[-1])) as look:
            match meanwhile:
                case "deploy":
                    self.deploy(which)
                case "roll back":
                    self.roll_back()
                case "withdraw":
                    self.withdraw()
                case "switch" if self.starting is not None:
                    self.serve_switches()
            self.let_pass(self.end_look(look))

    # retrainings, and what a person has trained again

    @rule()
    def retraining_falls_due(self) -> None:
        with self.begin() as session:
            deployments.lock_model(session, self.model)
            if retrainings.explain_block(session, self.model) is None:
                due = Occasion(Trigger.SCHEDULE, str(next(OCCASIONS)), "it was due")
                retrainings.request(session, self.model, due)

    @rule(begin=st.booleans())
    def retraining_starts(self, begin: bool) -> None:
        with self.begin() as session:
            wanted = deployments.find_wanted(session, self.model)
            for number in retrainings.list_waiting(session, [self.model]):
                made = retrainings.start(session, number, "a/m", warm_start=False)
                assert made is None or wanted is None, "it began while another release was to go live"
        if begin:
            self.take(0)

    @rule(which=ANY)
    def train_again(self, which: int) -> None:
        with self.begin() as session:
            if known := self.made(session):
                commit = known[which % len(known)].commit
                release_queue.queue_release(session, self.model, "a/m", commit, Trigger.MANUAL, who="dana")

    @rule(fails=st.booleans(), next_is_due=st.booleans())
    def retrain_and_roll_back(self, fails: bool, next_is_due: bool) -> None:
        """The live commit is trained again, is live, and is rolled back, at times past one that fails."""
        self.serve_catches_up()
        self.retraining_falls_due()
        self.retraining_starts(begin=False)
        with self.begin() as session:
            waits = [
                one for one in self.made(session, Status.QUEUED) if ("release", one.id) not in self.states
            ]
            claim = claims.claim(session, waits[0].id) if waits else None
        if claim is None:
            return
        with self.begin() as session:
            claims.record_facts(session, claim, artifact="digest")
            seen = deployments.take_snapshot(session, self.model)
        self.builders.append(Builder(claim, seen.baseline, seen))
        self.let_pass(self.builders[-1])
        self.serve_catches_up()
        if next_is_due:
            self.retraining_falls_due()
        self.withdraw()
        if fails:
            self.serve_reads_what_is_wanted()
            self.start_fails()
        self.serve_catches_up()

    def serve_catches_up(self) -> None:
        self.serve_reads_what_is_live()
        self.serve_reads_what_is_wanted()
        if self.starting is not None:
            self.serve_switches()

    @staticmethod
    def seen(builder: Builder) -> DeploymentSnapshot:
        assert builder.seen is not None
        return builder.seen

    @precondition(lambda self: Status.QUEUED in self.statuses)
    @rule(which=ANY)
    def take(self, which: int) -> None:
        with self.begin() as session:
            queued = self.made(session, Status.QUEUED)
            claim = claims.claim(session, queued[which % len(queued)].id) if queued else None
        if claim is not None:
            with self.begin() as session:
                claims.record_facts(session, claim, artifact="digest")
            self.builders.append(Builder(claim))

    @precondition(lambda self: Status.BUILDING in self.statuses)
    @rule(which=ANY)
    def crash(self, which: int) -> None:
        """The builder is taken for dead; it may come back later, and is to find that out."""
        with self.begin() as session:
            if building := self.made(session, Status.BUILDING):
                claims.requeue_orphaned(session, building[which % len(building)])

    @rule(keep=st.integers(1, 3))
    def prune(self, keep: int) -> None:
        with self.begin() as session:
            live = deployments.find_live(session, self.model)
            pruned = [release.id for release in releases.prune_artifacts(session, self.model, keep)]
            assert live is None or live.release_id not in pruned

    # builders

    @precondition(lambda self: self.builders and self.gate is None)
    @rule(which=ANY)
    def gate_reads_what_stands(self, which: int) -> None:
        self.gate = self.begin_look(self.builders[which % len(self.builders)])

    @precondition(lambda self: self.gate)
    @rule(passes=st.booleans())
    def gate_reads_what_was_decided(self, passes: bool) -> None:
        assert self.gate is not None
        look, self.gate = self.gate, None
        builder = self.end_look(look)
        if passes and builder in self.builders:
            self.let_pass(builder)

    def begin_look(self, builder: Builder) -> Look:
        with ExitStack() as stack:
            session = stack.enter_context(open_snapshot(self.sessions))
            stands = deployments.find_baseline(session, self.model)
            return Look(builder, session, stands.id if stands else None, stack.pop_all().close)

    def end_look(self, look: Look) -> Builder:
        seen = deployments.take_snapshot(look.session, self.model)
        look.close()
        judged = Builder(look.builder.claim, look.compared, seen)
        if look.builder in self.builders:  # it may have ended meanwhile
            self.builders[self.builders.index(look.builder)] = judged
        return judged

    def teardown(self) -> None:
        if self.gate is not None:
            self.gate.close()

    @precondition(lambda self: any(builder.seen for builder in self.builders))
    @rule(which=ANY)
    def gate_passes(self, which: int) -> None:
        judged = [builder for builder in self.builders if builder.seen]
        self.let_pass(judged[which % len(judged)])

    def let_pass(self, builder: Builder) -> None:
        with self.begin() as session:
            before = deployments.take_snapshot(session, self.model)
            decided = len(self.decisions(session))
        self.settle(builder, Deployed(self.seen(builder)))
        with self.begin() as session:
            if len(self.decisions(session)) > decided:
                assert before == builder.seen, "decided by what no longer stood"
                assert before.baseline == builder.compared, "compared with something else"

    @precondition(lambda self: self.builders)
    @rule(
        which=ANY,
        outcome=st.sampled_from(
            [
                Retry("away", timedelta()),
                Finished(Status.REJECTED, "worse"),
                Finished(Status.PASSED, "waits"),
                Finished(Status.UNTOUCHED, "nothing has changed"),
            ]
        ),
    )
    def builder_ends(self, which: int, outcome: Retry | Finished) -> None:
        self.settle(self.builders[which % len(self.builders)], outcome)

    @precondition(lambda self: self.builders)
    @rule(which=ANY)
    def builder_is_stopped(self, which: int) -> None:
        builder = self.builders.pop(which % len(self.builders))
        try:
            with self.begin() as session:
                claims.release_claim(session, builder.claim, "stopped")
        except claims.ClaimLostError:
            pass

    def settle(self, builder: Builder, outcome: Any) -> None:
        self.builders.remove(builder)
        try:
            with self.begin() as session:
                claims.settle(session, builder.claim, outcome)
        except claims.ClaimLostError:
            pass
        except ConflictError:
            self.builders.append(Builder(builder.claim))

    # people

    @precondition(lambda self: self.statuses & {Status.QUEUED, Status.BUILDING})
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        with self.begin() as session:
            if known := self.made(session, Status.QUEUED, Status.BUILDING):
                release_queue.cancel(session, known[which % len(known)].id, who="dana")

    @rule(which=ANY)
    def deploy(self, which: int) -> None:
        with self.begin() as session:
            if known := self.made(session, Status.DEPLOYED, Status.PASSED):
                chosen = known[which % len(known)]
                if chosen.pruned_at is None:
                    deployments.deploy(session, chosen, who="dana", why=None)

    @rule()
    def roll_back(self) -> None:
        with self.begin() as session:
            left = deployments.find_live(session, self.model)
            try:
                made = deployments.roll_back(session, self.model, cause=Cause.ROLLBACK, who="dana", why=None)
            except RefusedError:
                return
            target = session.get_one(Release, made.release_id)
            assert left is not None
            assert target.pruned_at is None
            assert target.id != left.release_id
            assert rollbacks.find_quarantine(session, target) is None
            assert self.was_live_after(session, target, left) == set(), "it skipped a newer one that is good"

    def was_live_after(self, session: Session, target: Release, left: Deployment) -> set[int]:
        """Return the releases that were live after the last time that `target` was, and may be again."""
        earlier = [one for one in self.decisions(session) if one.live_at is not None and one.id < left.id]
        last = max(one.id for one in earlier if one.release_id == target.id)
        between = {one.release_id for one in earlier if one.id > last} - {left.release_id}
        found = [session.get_one(Release, number) for number in between]
        good = [one for one in found if one.pruned_at is None and one.artifact is not None]
        return {one.id for one in good if rollbacks.find_quarantine(session, one) is None}

    @rule()
    def withdraw(self) -> None:
        with self.begin() as session:
            live = deployments.find_live(session, self.model)
            if live is not None:
                wanted = deployments.find_wanted(session, self.model)
                try:
                    made = deployments.auto_roll_back(session, live, "it dies")
                except RefusedError:
                    return
                assert made is None or wanted is None, "an operator was overruled"

    # serve

    @rule()
    def serve_reads_what_is_live(self) -> None:
        with self.begin() as session:
            self.live = deployments.find_live(session, self.model)

    @rule()
    def serve_reads_what_is_wanted(self) -> None:
        """It begins with that, or with what was live, and gives up what it had begun with."""
        with self.begin() as session:
            self.starting = deployments.find_wanted(session, self.model) or self.live

    @precondition(lambda self: self.starting)
    @rule()
    def serve_switches(self) -> None:
        assert self.starting is not None
        with self.begin() as session:
            newest = deployments.take_snapshot(session, self.model).newest
            was_live = deployments.find_live(session, self.model)
            since = deployments.mark_live(session, self.starting)
            if since is not None and (was_live is None or was_live.id != self.starting.id):
                assert newest == self.starting.id, "it went live though it was overruled"
        self.starting = None

    @precondition(lambda self: self.starting)
    @rule()
    def start_fails(self) -> None:
        assert self.starting is not None
        with self.begin() as session:
            deployments.mark_failed(session, self.starting, "it cannot start")
        self.starting = None

    # what holds at any time

    @invariant()
    def what_is_promised(self) -> None:
        with self.begin() as session:
            made, known = self.decisions(session), self.made(session)
            quarantined = select(Quarantine).where(Quarantine.model == self.model)
            active = list(session.scalars(quarantined.where(Quarantine.ended_at.is_(None))))
            open_states = (RetrainingState.WAITING, RetrainingState.SUGGESTED)
            waits = select(Retraining).where(Retraining.model == self.model)
            waiting = list(session.scalars(waits.where(Retraining.state.in_(open_states))))
        self.statuses = {release.status for release in known}
        self.each_goes_a_way_that_its_states_have(made, known)
        self.only_the_newest_decision_can_be_wanted(made)
        self.what_has_ended_stays_as_it_ended(made)
        self.gates_decide_in_the_order_of_merges(made, known)
        self.nothing_waits_behind_a_newer_merge(known)
        self.a_rollback_is_true_only_when_its_target_was_live(made, known, active)
        self.a_quarantine_leaves_what_was_good(made, known, active)
        self.only_the_live_commit_is_trained_again(made, known, waiting)

    def each_goes_a_way_that_its_states_have(self, made: list[Deployment], known: list[Release]) -> None:
        now: dict[tuple[str, int], Status | DeploymentState] = {
            **{("release", one.id): one.status for one in known},
            **{("deployment", one.id): one.state for one in made},
        }
        for key, state in now.items():
            before = self.states.get(key, state)
            assert state is before or state in before.next, f"{key} went from {before} to {state}"
        self.states = now

    def only_the_newest_decision_can_be_wanted(self, made: list[Deployment]) -> None:
        assert all(one.state is not DeploymentState.WANTED for one in made[:-1])

    def what_has_ended_stays_as_it_ended(self, made: list[Deployment]) -> None:
        now = {one.id: one.state for one in made if one.state is not DeploymentState.WANTED}
        assert self.ended.items() <= now.items()
        self.ended = now

    def gates_decide_in_the_order_of_merges(self, made: list[Deployment], known: list[Release]) -> None:
        position = {release.id: release.position for release in known if release.position is not None}
        merged = [one for one in made if one.release_id in position]
        by_gate = [position[one.release_id] for one in merged if one.cause is Cause.GATE]
        assert by_gate == sorted(by_gate)

    def nothing_waits_behind_a_newer_merge(self, known: list[Release]) -> None:
        queued = [one for one in known if one.status is Status.QUEUED and one.trigger is Trigger.MERGE]
        assert all(release.pull_request == len(self.merges) for release in queued)

    def a_rollback_is_true_only_when_its_target_was_live(
        self, made: list[Deployment], known: list[Release], quarantined: list[Quarantine]
    ) -> None:
        release_of = {one.id: one.release_id for one in made}
        true = [one for one in made if one.leaves is not None and one.state is DeploymentState.LIVE]
        assert {one.release_id for one in quarantined} <= {release_of[one.leaves or 0] for one in true}
        reach = max((one.holds_until or 0 for one in true), default=0)
        assert all(release.id <= reach for release in known if release.hold)

    def a_quarantine_leaves_what_was_good(
        self, made: list[Deployment], known: list[Release], quarantined: list[Quarantine]
    ) -> None:
        """The live release, and of its commit what was live before and not rolled back."""
        commit_of = {release.id: release.commit for release in known}
        live = [one.release_id for one in made if one.state is DeploymentState.LIVE]
        assert not live or live[-1] not in {one.release_id for one in quarantined}
        whole = {one.commit for one in quarantined if one.covers_commit}
        assert not live or commit_of[live[-1]] not in whole
        bad = {one.release_id for one in quarantined}
        left = {one.leaves for one in made if one.leaves is not None and one.state is DeploymentState.LIVE}
        for one in made:
            if one.id in left and one.release_id in bad and commit_of[one.release_id] in whole:
                earlier = {before.release_id for before in made if before.live_at and before.id < one.id}
                assert {r for r in earlier if commit_of[r] == commit_of[one.release_id]} <= bad

    def only_the_live_commit_is_trained_again(
        self, made: list[Deployment], known: list[Release], waiting: list[Retraining]
    ) -> None:
        commit_of = {release.id: release.commit for release in known}
        live = [one for one in made if one.state is DeploymentState.LIVE]
        on_its_way = [one for one in known if one.trigger in RETRAIN_TRIGGERS and not one.status.has_ended]
        for one in (*waiting, *on_its_way):
            assert one.commit == commit_of[live[-1].release_id]
            if live[-1].leaves is not None:
                assert one.created_at >= live[-1].live_at, "it outlived a rollback"


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param(200, marks=pytest.mark.timeout(900)),
        pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ],
)
def test_no_order_of_steps_breaks_what_is_promised(
    sessions: Sessions, runs: int, request: pytest.FixtureRequest, show: Callable[[str], None]
) -> None:
    chosen = request.config.getoption("hypothesis_seed") or secrets.randbits(64)
    show(f"{runs} runs of 50 steps: --hypothesis-seed={chosen}")
    many = settings(
        max_examples=runs,
        stateful_step_count=50,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run = get_state_machine_test(lambda: Decisions(sessions), settings=many)  # type: ignore[arg-type]
    seed(chosen)(run)()
