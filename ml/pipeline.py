"""The builder: takes one release through the stages. `python -m ml.pipeline RELEASE`, started by watch."""

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.text import make_storable
from db import claims, deployments, predictions, releases
from db.claims import Claim, Deployed, Ended, Later
from db.limits import BUILDER_SECONDS
from db.models import Deployment, Release, State, Status, Trigger
from db.session import AWAY, sessions, snapshot
from ml import disk, flock, manifest
from ml.differences import MOST
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.journal import Journal
from ml.quantities import written
from ml.settings import Settings
from ml.stages import deploy, gate
from ml.tracking.code import Logging, logging
from ml.workshop import Workshop

MAX_REASON = 4000  # characters
Outcome = Deployed | Ended | Later
# what is decided, what is wanted or else live, and what users asked
Sight = tuple[deployments.Seen, Deployment | None, list[Any]]


class CutOff(BaseException):
    """The appliance stops; not an error of anybody."""


def promote(
    workshop: Workshop, journal: Journal, look: Callable[[], Sight], logging: Callable[[str, Path], Logging]
) -> Outcome:
    """Every stage, straight down; those that were finished before a crash give what they gave then."""
    release = workshop.release

    with journal.stage("checkout") as say:
        if release.attempts > 1:
            say(f"try number {release.attempts}: stages that were done before are not done again")
        source = workshop.checkout(journal.read(partial(releases.is_new, release_id=release.id)))
        said = workshop.manifest(source)
        journal.record(entry_point=said.model.entry_point, release_on=said.release.on)
    if said.release.on == "tag" and release.trigger is Trigger.MERGE:
        return Ended(Status.SUPERSEDED, 'a tag v* releases it, not the merge ([release] on = "tag")')
    with journal.stage("environment"):
        room, resolved = workshop.environment(source)
        journal.record(environment=resolved.key, lock=resolved.lock, python=resolved.python)
    with journal.stage("data"):
        datasets = workshop.data(said.data, source)
        journal.record(data=datasets.facts())
    with journal.stage("train") as say:
        artifact = workshop.train(room, said, datasets.train, logging(resolved.lock, room.scratch))
        say(f"a trained model of {written(artifact.path.stat().st_size)}, sha256 {artifact.sha256}")
        journal.record(artifact=artifact.sha256)
    with journal.stage("evaluate") as say:
        scored = workshop.evaluate(room, said, artifact, datasets.test)
        say(", ".join(f"{name} {gate.number(value)}" for name, value in scored.metrics.items()))
        kind = manifest.kind(said, str(scored.info.get("Type", "")))
        journal.record(metrics=scored.metrics, info=scored.info, kind=kind)
        known = workshop.known(room, said, kind, scored, datasets.train)
        if isinstance(known, str):
            say(f"predictions are shown alone: {known}")
        else:
            journal.record(known=known)
    with journal.stage("gate") as say:
        seen, live, requests = look()
        if live is not None and live.state is State.WANTED:
            say(f"release {live.release_id} is wanted and not live yet: it is what this one is held against")
        if not requests and (untried := workshop.try_prediction(room, said, kind, artifact, scored)):
            say(untried)
        compared = workshop.compare(live, datasets.test)
        differ = workshop.differences(live, room, said, artifact, requests)
        if not isinstance(differ, str):
            journal.record(differences=differ.document())
            say(f"predictions differ for {differ.said}")
        else:
            say(differ)
        verdict = gate.judge(
            scored.metrics,
            said.gate,
            live=compared.metrics,
            compared_with=compared.release,
            note=compared.note,
            differences=differ,
            past=journal.read(partial(releases.lately_live, model=release.model, test=datasets.test.sha256)),
        )
        for line in gate.told(verdict, scored.metrics, compared.metrics or {}):
            say(line)
        journal.record(verdict=verdict.document() | {"seen": asdict(seen)})
        if not verdict.passed:
            raise Rejected(verdict.reason)
    with journal.stage("deploy") as say:
        outcome = deploy.decide(seen, said.release, verdict.unjudged)
        say(told(outcome))
        return outcome


def build(sessions: sessionmaker[Session], claim: Claim, promote: Callable[[], Outcome], home: Path) -> None:
    """Take one claimed release as far as it deserves, and say where it ended."""
    while True:
        outcome: Outcome
        try:
            outcome = promote()
        except (claims.Lost, *AWAY):
            raise
        except Exception as fault:  # noqa: BLE001 (a bug of ours must not stop the look-out)
            outcome = ended_by(fault, claim.release, home)
        try:
            with sessions.begin() as session:  # status, deployment and NOTIFY: all or nothing
                claims.settle(session, claim, outcome)
        except deployments.Overtaken:
            logger.info("release {}: somebody decided meanwhile, the gate is asked again", claim.release.id)
        else:
            logger.info("release {} ({}): {}", claim.release.id, claim.release.commit[:8], told(outcome))
            return


def ended_by(fault: Exception, release: Release, home: Path) -> Outcome:
    """Whose fault it was: the commit's (never tried again), the world's (later), or ours (for a person)."""
    later = datetime.now(UTC) + claims.pause(release.attempts)
    match fault:
        case Rejected():
            return Ended(Status.REJECTED, make_storable(str(fault), MAX_REASON))
        case Unavailable():
            return Later(str(fault), later)
        case OSError(errno=number) if number in disk.ERRORS:
            return Later(disk.told(fault, home), later)
    logger.opt(exception=fault).error("release {} broke the pipeline", release.id)
    return Ended(
        Status.FAILED, make_storable(f"a bug of Slipway's, not of the commit: {fault!r}", MAX_REASON)
    )


def told(outcome: Outcome) -> str:
    match outcome:
        case Deployed():
            return "passed the gate, to be deployed"
        case Ended(status, reason):
            return f"{status}: {reason}"
        case Later(reason, due_at):
            return f"tried again at {due_at:%H:%M:%S}: {reason}"


def cut_off(number: int, _: FrameType | None) -> None:
    raise CutOff(number)


def main(release_id: int) -> None:
    settings = Settings()
    log.configure("build", settings.log)
    signal.signal(signal.SIGTERM, cut_off)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make = sessions(settings.database_url, BUILDER_SECONDS)
    folder = Home(settings.home.absolute()).release(release_id)
    with ExitStack() as held:
        try:
            held.enter_context(flock.hold(folder / "builder.lock"))
        except OSError as error:
            if error.errno not in disk.ERRORS:
                raise
            with make.begin() as session:
                releases.put_off(session, release_id, disk.FULL)
            sys.exit(f"release {release_id}: {disk.FULL}")
        with make.begin() as session:
            claim = claims.take(session, release_id)
        if claim is not None:
            work(settings, make, claim)


def look(make: sessionmaker[Session], model: str) -> Sight:
    """What the gate compares with, all of one moment."""
    with snapshot(make) as session:
        live = deployments.standing(session, model)
        requests = predictions.distinct_features(session, model, MOST) if live else []
        return deployments.look(session, model), live, requests


def work(settings: Settings, make: sessionmaker[Session], claim: Claim) -> None:
    """Build what is claimed, while this process is wanted and Postgres is there."""
    release = claim.release
    with make.begin() as session:
        parent = session.get(Release, release.warm_start) if release.warm_start else None
    model = next((model for model in settings.models() if model.name == release.model), None)
    journal = Journal(make, claim, partial(Home(settings.home.absolute()).log, release.id))
    logs = partial(logging, settings, make, release)

    def attempt() -> Outcome:
        if model is None:
            raise Rejected(f"the appliance no longer follows {release.repository}")
        return promote(
            Workshop(settings, model, release, parent), journal, partial(look, make, release.model), logs
        )

    try:
        build(make, claim, attempt, settings.home.absolute())
    except claims.Lost:
        logger.warning("release {} was given to another builder; this one ends", release.id)
    except AWAY as error:  # nothing can be written down: the look-out puts it back
        sys.exit(f"release {release.id}: Postgres went away: {str(error).strip()}")
    except CutOff:
        with suppress(claims.Lost), make.begin() as session:  # Lost: it had just been settled
            claims.give_back(session, claim, "the appliance was stopped; it goes on from there")
        logger.info("release {}: put back, the appliance stops", release.id)


if __name__ == "__main__":
    main(int(sys.argv[1]))
