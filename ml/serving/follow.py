"""Wanted → live: brings up what the database wants, switches, and says back what is served."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, predictions, releases
from db.models import Deployment, State
from db.session import AWAY, describe
from ml.errors import Rejected, Strained, Unavailable
from ml.serving import health
from ml.serving.live import Live, Place
from ml.serving.pool import FAILED_STARTS, Limits, Pool
from ml.serving.probation import Probation
from ml.serving.start import start
from ml.serving.threads import aside
from ml.settings import Settings

STRAINED_STARTS = 3  # of a release that is too slow, or killed
LONGEST_PAUSE = 300.0  # seconds between two tries of something that the world keeps from us


class OverruledError(Exception):
    """Somebody decided otherwise while a release was being started."""


@dataclass
class Postponed:
    """A deployment that could not be tried for no fault of its own."""

    deployment: int
    pause: float = 1.0
    due: float = 0.0
    tries: int = 0
    strains: int = 0

    def again(self) -> None:
        self.tries += 1
        self.due = time.monotonic() + self.pause
        self.pause = min(LONGEST_PAUSE, self.pause * 2)


class Follower:
    """One model's. Whatever happens, what is live stays live until something better has answered."""

    def __init__(self, place: Place, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.place, self.settings, self.sessions = place, settings, sessions
        self.limits = Limits(settings.workers, settings.predict_timeout, settings.load_timeout)
        self.woken = asyncio.Event()
        self._probation = Probation(place, settings, sessions)
        self._postponed: dict[int, Postponed] = {}
        # what Postgres has to be told of deployments: None when one went live, else why not
        self._unsaid: list[tuple[Deployment, str | None]] = []
        self._leaving: set[asyncio.Task[None]] = set()  # the way out of pools that were live

    async def run(self) -> None:
        """Until cancelled; then every worker is ended."""
        try:
            while True:
                self.woken.clear()
                await self._look_safely()
                await self._rest()
        finally:
            await self._stop()

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except AWAY as error:
            reason = (describe(error).splitlines() or ["no answer"])[0]
            if self.place.database is None:
                logger.warning("Postgres is away, {} stays as it is: {}", self.place.model.name, reason)
            self.place.database = reason
        except Exception:  # noqa: BLE001 (a bug of ours must not stop the following)
            logger.exception("following {} broke", self.place.model.name)

    async def look(self) -> None:
        """One look: say what is unsaid, restore what was live, try what is wanted."""
        await self._say()
        live, wanted = await aside(self._ask)
        self.place.database = None
        ids = {deployment.id for deployment in (live, wanted) if deployment is not None}
        self._postponed = {n: postponed for n, postponed in self._postponed.items() if n in ids}
        if not ids:
            self.place.trouble = None
        if live is not None and not self._agree(live):
            await self._attempt(live)
        if wanted is not None:
            await self._attempt(wanted)

    def _ask(self) -> tuple[Deployment | None, Deployment | None]:
        model = self.place.model.name
        with self.sessions.begin() as session:
            return deployments.live(session, model), deployments.wanted(session, model)

    async def _attempt(self, deployment: Deployment) -> None:
        """Bring it up and switch to it, or say why not."""
        postponed = self._postponed.setdefault(deployment.id, Postponed(deployment.id))
        if time.monotonic() < postponed.due:
            return
        name = f"release {deployment.release_id} of {deployment.model}"
        self.place.doing = f"starting {name}"
        try:
            live = await judged(self._unless_overruled(deployment), postponed)
        except OverruledError:
            logger.info("{} is given up: a newer decision was made", name)
        except Rejected as fault:
            logger.warning("{} cannot take the place: {}", name, fault)
            if deployment.state is State.LIVE:  # a person may bring back what is missing
                postponed.again()
                self.place.trouble = f"{name} cannot be restored: {fault}"
                if postponed.tries >= FAILED_STARTS:
                    self._probation.not_restored(deployment, str(fault))
            else:
                self._unsaid.append((deployment, str(fault)))
                self.place.trouble = None
        except Unavailable as fault:
            postponed.again()
            logger.warning("{} is tried again in {:g} s: {}", name, postponed.pause / 2, fault)
            self.place.trouble = f"{name} is tried again: {fault}"
        except AWAY:
            raise  # asked again as soon as Postgres is back
        except Exception:
            postponed.again()
            self.place.trouble = (
                f"{name} could not be started for a fault of Slipway's; its log has the details"
            )
            raise
        else:
            self._switch(live)
        finally:
            self.place.doing = None
        await self._say()

    async def _unless_overruled(self, deployment: Deployment) -> Live:
        """Bring it up, and have Postgres call it live; `OverruledError` as soon as it no longer stands."""
        starting = asyncio.create_task(self._bring_up(deployment))
        watching = asyncio.create_task(self._overruled(deployment))
        try:
            await asyncio.wait({starting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await watching
                raise OverruledError
            live = await starting
            return replace(live, since=await self._take_place(deployment) or live.since)
        except BaseException:
            await end(starting)
            raise
        finally:
            watching.cancel()
            self.woken.set()  # what woke us meanwhile may be a decision for the next look

    async def _overruled(self, deployment: Deployment) -> None:
        """Return when another deployment is to be served."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), self.settings.poll_seconds)
            self.woken.clear()
            with suppress(*AWAY):
                standing = await aside(self._ask)
                if deployment.id not in {each.id for each in standing if each is not None}:
                    return

    async def _take_place(self, deployment: Deployment) -> datetime | None:
        """Have Postgres call it live, and give since when; while Postgres is away, that is told later."""
        try:
            live = await aside(self._write, deployment, None)
        except AWAY:
            self._unsaid.append((deployment, None))
            return None
        if live is None or live.id != deployment.id:
            raise OverruledError
        return live.live_at

    async def _bring_up(self, deployment: Deployment) -> Live:
        """Workers of the release beside the live ones', ready to take the place."""
        release = deployment.release
        known = await aside(self._known, release.id)  # now: Postgres may be away when the worker is ready
        pool = await start(
            self.place.model, self.settings, release, self.limits, self._tell, work=self.place.work
        )
        try:
            chosen = await aside(health.choose, pool, release.kind, self._recorded(release.model))
            await health.check(pool, chosen)
        except BaseException:
            await pool.close()
            raise
        return Live(deployment, release, pool, deployment.live_at or datetime.now(UTC), known, bool(chosen))

    def _tell(self, what: str) -> None:
        logger.info("{}", what)
        self.place.doing = what

    def _known(self, release: int) -> dict[str, Any]:
        with self.sessions.begin() as session:
            return releases.known(session, release)

    def _recorded(self, model: str) -> Callable[[], list[Any]]:
        def newest() -> list[Any]:
            with self.sessions.begin() as session:
                return predictions.distinct_features(session, model, health.RECORDED)

        return newest

    def _switch(self, live: Live) -> None:
        """The one assignment; the old workers finish what they hold, what waits goes to the new ones."""
        old, self.place.live = self.place.live, live
        self.place.trouble = None
        self._postponed.clear()
        self._probation.begin(live)
        logger.info("{} is live, commit {}", live.pool.label, live.release.commit[:8])
        if old is not None:
            old.pool.hand_over(live.pool)
            leaving = asyncio.get_running_loop().create_task(leave(old.pool))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _say(self) -> None:
        """Tell Postgres what became of deployments; what it could not be told is kept until it can."""
        while self._unsaid:
            deployment, reason = self._unsaid[0]
            self._agree(await aside(self._write, deployment, reason))
            self._unsaid.pop(0)

    def _write(self, deployment: Deployment, reason: str | None) -> Deployment | None:
        with self.sessions.begin() as session:
            if reason is None:
                deployments.went_live(session, deployment)
            else:
                deployments.failed(session, deployment, reason)
            return deployments.live(session, deployment.model)

    def _agree(self, live: Deployment | None) -> bool:
        """Whether the database calls live what is served; then since when is what it says."""
        serving = self.place.live
        if serving is None or live is None or serving.deployment.id != live.id:
            return False
        self.place.live = replace(serving, since=live.live_at or serving.since)
        return True

    async def _rest(self) -> None:
        """Until woken, or until something postponed is due."""
        now = time.monotonic()
        pauses = [postponed.due - now for postponed in self._postponed.values() if postponed.due > now]
        pause = 1.0 if self.place.database else min([self.settings.poll_seconds, *pauses])
        try:
            await asyncio.wait_for(self.woken.wait(), pause)
        except TimeoutError:
            return

    async def _stop(self) -> None:
        await self._probation.stop()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self.place.live is not None:
            await self.place.live.pool.close()


async def judged(bringing_up: Awaitable[Live], postponed: Postponed) -> Live:
    """What took too long or was killed is the machine's fault at first, then the release's."""
    try:
        return await bringing_up
    except Strained as fault:
        postponed.strains += 1
        if postponed.strains < STRAINED_STARTS:
            raise
        raise Rejected(f"{fault} (tried {postponed.strains} times)") from fault


async def end(starting: asyncio.Task[Live]) -> None:
    """Give a start up, also one that has just come to its end."""
    starting.cancel()
    [found] = await asyncio.gather(starting, return_exceptions=True)
    if isinstance(found, Live):
        await found.pool.close()


async def leave(pool: Pool) -> None:
    """Drain, then end; also when cut short."""
    try:
        await pool.drain()
    finally:
        await pool.close()
