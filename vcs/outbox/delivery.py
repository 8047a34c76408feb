"""The delivery of one subject, and what follows from how it ended."""

import math
import time
from http import HTTPStatus

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.system.backoff import Backoff
from db import appliance, outbox_delivery
from db.outbox import SubjectKind
from db.states import OutboxState
from db.vcs_models import OutboxSubject
from vcs.github_app import AppError, BadAppError
from vcs.github_app.clone_tokens import CloneTokens
from vcs.github_client import BadTokenError, GitHubDownError, GitHubRefusalError, RateLimitedError
from vcs.outbox.github_api import GitHubApi
from vcs.outbox.subjects import GONE, DeletedError, NothingToShowError, SubjectWriter
from vcs.settings import VcsSettings

DELIVERY_SECONDS = 45.0  # for all requests of one subject
LEASE_SECONDS = 60.0  # until a subject is due again whose delivery was killed
RETRY_BACKOFF = Backoff(5.0, 900.0, factor=3)
LIMIT_BACKOFF = Backoff(60.0, 3600.0)  # of pauses whose length GitHub does not say
RIGHT_BACKOFF = Backoff(3600.0, 86400.0)  # until a token that lacks a right may have it
MAX_SHOWN = 5  # reasons on the overview
HOW_TO_AUTHENTICATE = "GitHub does not accept GITHUB_TOKEN: set one that is valid, and start Slipway again."
HOW_THE_APP_GOES_ON = "GitHub does not accept the GitHub App's token any more: Slipway asks for another one."
NAMES = {
    SubjectKind.STATUS: "commit statuses",
    SubjectKind.COMMENT: "comments of pull requests",
    SubjectKind.DEPLOYMENT: "GitHub deployments",
    SubjectKind.CHECK_RUN: "GitHub check runs",
}


class OutboxDelivery:
    """Delivers subjects one by one; a subject's failure holds up no other, GitHub's limits hold up all."""

    def __init__(self, settings: VcsSettings, sessions: sessionmaker[Session], api: GitHubApi) -> None:
        self.repositories, self.sessions, self.api = settings.github_repositories, sessions, api
        self.clone_tokens = CloneTokens(api.access, sessions, self.repositories)
        self.writer = SubjectWriter(api, settings.public_url)
        self.paused_until = -math.inf  # by `time.monotonic`
        self._failures = 0  # in a row, that held up all
        self._shown: str | None = None  # on the overview

    def prepare(self) -> None:
        """Try again what another token was not allowed to write, and delete old rows."""
        with self.sessions.begin() as session:
            self._shown = appliance.find_problem(session, "outbox")
            outbox_delivery.retry_refused(session)
            outbox_delivery.prune(session)
        self.show_errors()

    def renew_clone_tokens(self) -> None:
        """Renew the tokens that clones use, and show why there are none."""
        before = self.clone_tokens.list_errors()
        self.clone_tokens.renew_due()
        if self.clone_tokens.list_errors() != before:
            self.show_errors()

    def deliver_next(self) -> bool:
        """Deliver a subject that is due; return whether there was one."""
        with self.sessions.begin() as session:
            subject = outbox_delivery.claim_due(session, self.repositories, LEASE_SECONDS)
        if subject is None:
            return False
        self.api.begin(subject.repository, DELIVERY_SECONDS)
        error = self.write(subject)
        with self.sessions.begin() as session:
            self.settle(session, subject, error)
        self.paused_until = max(self.paused_until, time.monotonic() + self.api.seconds_to_pause)
        self.show_errors()
        return True

    def write(self, subject: OutboxSubject) -> Exception | None:
        """Write a subject to GitHub; return the error, None when it is there."""

        def store_id(github_id: int) -> None:
            if github_id != subject.github_id:
                with self.sessions.begin() as session:
                    outbox_delivery.store_github_id(session, subject.id, github_id)

        try:
            self.writer.write(subject, store_id)
        except (
            GitHubDownError,
            RateLimitedError,
            BadTokenError,
            AppError,
            GitHubRefusalError,
            NothingToShowError,
            DeletedError,
        ) as error:
            return error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.opt(exception=error).warning("GitHub's answer about {} is not understood", subject.key)
            return GitHubDownError("its answer is not understood")
        return None

    def settle(self, session: Session, subject: OutboxSubject, error: Exception | None) -> None:
        """Record how a delivery ended, and what follows for it and for the others."""
        pause = RETRY_BACKOFF.get_pause(subject.attempts)
        match error:
            case None:
                self._failures = 0
                outbox_delivery.settle(session, subject, OutboxState.DELIVERED)
            case NothingToShowError():
                outbox_delivery.settle(session, subject, OutboxState.REFUSED)
            case DeletedError():
                outbox_delivery.settle(session, subject, OutboxState.CLOSED)
            case GitHubRefusalError():
                pause, reason = (
                    RIGHT_BACKOFF.get_pause(subject.attempts),
                    self.describe_refusal(subject, error),
                )
                is_taken_never = error.status == HTTPStatus.UNPROCESSABLE_ENTITY
                outbox_delivery.defer(session, subject, pause, reason, is_refused=True, ends=is_taken_never)
            case RateLimitedError():
                pause = error.seconds or LIMIT_BACKOFF.get_pause(self._failures + 1)
                self._pause_all(pause)
                outbox_delivery.defer(
                    session, subject, pause, "GitHub asks for a pause: too many calls use this token."
                )
            case BadTokenError():
                self._pause_all(pause)
                outbox_delivery.defer(
                    session, subject, pause, self.describe_bad_token(error), is_refused=True
                )
            case AppError():
                outbox_delivery.defer(session, subject, pause, str(error), is_refused=True)
            case _:
                outbox_delivery.defer(
                    session, subject, pause, f"GitHub does not answer as it should: {error}."
                )

    def _pause_all(self, seconds: float) -> None:
        self._failures += 1
        self.paused_until = time.monotonic() + seconds

    @property
    def seconds_paused(self) -> float:
        """Return the seconds until GitHub may be called again."""
        return max(0.0, self.paused_until - time.monotonic())

    def show_errors(self) -> None:
        """Store for the overview what GitHub is not told, and why."""
        with self.sessions.begin() as session:
            errors = {
                *self.clone_tokens.list_errors(),
                *outbox_delivery.list_errors(session, self.repositories),
            }
            text = " ".join(sorted(errors)[:MAX_SHOWN]) or None
            if text != self._shown:
                appliance.set_problem(session, "outbox", text)
                logger.log("WARNING" if text else "INFO", "{}", text or "GitHub is told of everything again")
        self._shown = text

    def describe_bad_token(self, error: BadTokenError) -> str:
        if isinstance(error, BadAppError):
            return str(error)
        return HOW_TO_AUTHENTICATE if self.api.access.app_id is None else HOW_THE_APP_GOES_ON

    def describe_refusal(self, subject: OutboxSubject, error: GitHubRefusalError) -> str:
        """Return one sentence that is the same for all subjects of a kind in a repository."""
        what = f"{NAMES[SubjectKind(subject.kind)]} in {subject.repository}"
        if error.status in (HTTPStatus.FORBIDDEN, *GONE):
            who = "GITHUB_TOKEN" if self.api.access.app_id is None else "The GitHub App"
            return f"{who} may not write {what}: give it write access to them ({error.message})."
        return f"GitHub does not take {what}: {error.message}."
