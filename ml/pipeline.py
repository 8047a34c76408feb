"""The builder: takes one release through the stages. `python -m ml.pipeline RELEASE`, started by watch."""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import FrameType

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from db import deployments, releases
from db.models import Status
from db.releases import Claim, Deployed, Ended, Later
from db.session import sessions
from ml import flock, manifest
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.journal import Journal
from ml.runner.verb import Room
from ml.settings import Model, Settings
from ml.stages import checkout, data, deploy, environment, evaluate, gate, train

Outcome = Deployed | Ended | Later


class CutOff(BaseException):
    """The appliance stops; not an error of anybody."""


def promote(
    claim: Claim, model: Model, settings: Settings, journal: Journal, look: Callable[[], deployments.Seen]
) -> Outcome:
    """Every stage, straight down; those that were finished before a crash give what they gave then."""
    home, release = Home(settings.home.absolute()), claim.release
    folder = home.release(release.id)

    with journal.stage("checkout"):
        source = checkout.fetch(
            model,
            release.commit,
            clone=home.repository(model.name),
            into=home.source(release.id),
            token=settings.github_token,
            host=settings.github_host,
        )
        said = manifest.read(source)
        journal.record(entry_point=said.model.entry_point)
    with journal.stage("environment"):
        stage_log = home.log(release.id, "environment")
        resolved = environment.resolve(source, home, stage_log)
        room = Room(environment.build(resolved, home, stage_log), source, home.scratch(release.id))
        journal.record(environment=resolved.key, lock=resolved.lock, python=resolved.python)
    with journal.stage("data"):
        datasets = data.find(said.data, source, settings.data_of(model.name))
        journal.record(data=datasets.facts())
    with journal.stage("train"):
        artifact = train.fit(
            room,
            said.model.entry_point,
            datasets.train,
            into=folder / "train",
            artifact=home.artifact(model.name, release.id),
            log=home.log(release.id, "train"),
            timeout=settings.train_timeout,
        )
        journal.record(artifact=artifact.sha256)
    with journal.stage("evaluate"):
        scored = evaluate.score(
            room,
            said.model.entry_point,
            artifact,
            datasets.test,
            into=folder / "evaluate",
            log=home.log(release.id, "evaluate"),
            timeout=settings.evaluate_timeout,
        )
        kind = manifest.kind(said, str(scored.info.get("Type", "")))
        journal.record(metrics=scored.metrics, info=scored.info, kind=kind)
    with journal.stage("gate"):
        seen = look()
        gate.judge(scored.metrics)
    with journal.stage("deploy"):
        return deploy.decide(seen)


def build(sessions: sessionmaker[Session], claim: Claim, promote: Callable[[], Outcome]) -> None:
    """Take one claimed release as far as it deserves, and say where it ended."""
    while True:
        outcome: Outcome
        try:
            outcome = promote()
        except Rejected as fault:
            outcome = Ended(Status.REJECTED, str(fault))
        except Unavailable as fault:
            outcome = Later(str(fault), datetime.now(UTC) + releases.pause(claim.release.attempts))
        except releases.Lost:
            raise
        except Exception as fault:  # noqa: BLE001 (a bug of ours must not stop the look-out)
            logger.exception("release {} broke the pipeline", claim.release.id)
            outcome = Ended(Status.FAILED, f"a bug of Slipway's, not of the commit: {fault!r}")
        try:
            with sessions.begin() as session:  # status, deployment and NOTIFY: all or nothing
                releases.settle(session, claim, outcome)
        except deployments.Overtaken:
            logger.info("release {}: somebody decided meanwhile, the gate is asked again", claim.release.id)
        else:
            logger.info("release {} ({}): {}", claim.release.id, claim.release.commit[:8], told(outcome))
            return


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
    models = {model.name: model for model in settings.models()}
    make = sessions(settings.database_url)
    with flock.hold(Home(settings.home.absolute()).release(release_id) / "builder.lock"):
        with make.begin() as session:
            claim = releases.claim(session, release_id)
        if claim is None:
            return
        model = models.get(claim.release.model)
        journal = Journal(make, claim)

        def look() -> deployments.Seen:
            with make.begin() as session:
                return deployments.look(session, claim.release.model)

        def attempt() -> Outcome:
            if model is None:
                raise Rejected(f"the appliance no longer follows {claim.release.repository}")
            return promote(claim, model, settings, journal, look)

        try:
            build(make, claim, attempt)
        except releases.Lost:
            logger.warning("release {} was given to another builder; this one ends", release_id)
        except CutOff:
            with suppress(releases.Lost), make.begin() as session:  # Lost: it had just been settled
                releases.give_back(session, claim, "the appliance was stopped; it goes on from there")
            logger.info("release {}: put back, the appliance stops", release_id)


if __name__ == "__main__":
    main(int(sys.argv[1]))
