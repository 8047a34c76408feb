"""The delivery of one message to one receiver, and what follows from how it ended."""

import time

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.system.backoff import Backoff
from db import appliance, notification_deliveries
from db.notification_deliveries import DeliveryClaim
from db.states import DeliveryState
from vcs.notifications.message import make_message
from vcs.notifications.outcome import SendOutcome
from vcs.notifications.receivers import Receiver
from vcs.notifications.send import send_message
from vcs.notifications.settings import NotificationSettings

LEASE_SECONDS = 90.0  # until a message is due again whose delivery was killed
RETRY_BACKOFF = Backoff(5.0, 1800.0, factor=4)
MESSAGE_INTERVAL_SECONDS = 1.0  # from one message to a receiver to the next
PRUNE_SECONDS = 3600.0  # between two looks for what was delivered long ago
MAX_SHOWN = 5  # reasons on the overview


class NotificationSender:
    """Delivers messages one by one; a receiver that does not answer holds up no other."""

    def __init__(
        self,
        settings: NotificationSettings,
        sessions: sessionmaker[Session],
        backoff: Backoff = RETRY_BACKOFF,
        interval: float = MESSAGE_INTERVAL_SECONDS,
        prune_seconds: float = PRUNE_SECONDS,
    ) -> None:
        self.settings, self.sessions, self.backoff, self.interval = settings, sessions, backoff, interval
        self.receivers = {receiver.key: receiver for receiver in settings.receivers}
        self._gone: set[str] = set()
        self._resting_until: dict[str, float] = {}  # by receiver, by `time.monotonic`
        self._failures: dict[str, int] = {}  # of a receiver that answers nothing, in a row
        self._shown: str | None = None  # on the overview
        self._prune_seconds, self._prune_at = prune_seconds, 0.0  # by `time.monotonic`

    def prepare(self) -> None:
        """Find out who wants no more messages."""
        with self.sessions.begin() as session:
            self._gone = notification_deliveries.list_gone(session)
            self._shown = appliance.find_problem(session, "notifications")
        self.show_errors()

    @property
    def active(self) -> list[str]:
        """Return the receivers that want messages."""
        return [key for key in self.receivers if key not in self._gone]

    @property
    def ready(self) -> list[str]:
        """Return the receivers to which something may be sent now."""
        now = time.monotonic()
        return [key for key in self.active if self._resting_until.get(key, now) <= now]

    def deliver_next(self) -> bool:
        """Deliver the message that is due longest; return whether there was one."""
        self.prune()
        with self.sessions.begin() as session:
            notification_deliveries.begin_due(session, self.active)
            claim = notification_deliveries.claim_due(session, self.ready, LEASE_SECONDS)
        if claim is None:
            return False
        receiver = self.receivers[claim.delivery.receiver]
        outcome = self.send_claimed(claim, receiver)
        with self.sessions.begin() as session:
            self.settle(session, claim, receiver, outcome)
        self.show_errors()
        return True

    def prune(self) -> None:
        """Delete what was delivered long ago, once an hour."""
        if (now := time.monotonic()) >= self._prune_at:
            with self.sessions.begin() as session:
                notification_deliveries.prune(session)
            self._prune_at = now + self._prune_seconds

    def send_claimed(self, claim: DeliveryClaim, receiver: Receiver) -> SendOutcome:
        try:
            message = make_message(claim.notification, self.settings.public_url)
        except (KeyError, TypeError, ValueError) as error:  # of another version of Slipway
            logger.opt(exception=error).error("a notification of {} is not known", claim.notification.event)
            return SendOutcome("this version of Slipway does not know the event")
        return send_message(self.settings, receiver, message)

    def settle(
        self, session: Session, claim: DeliveryClaim, receiver: Receiver, outcome: SendOutcome
    ) -> None:
        """Record how a delivery ended, and what follows for it and for others to the receiver."""
        delivery, key = claim.delivery, receiver.key
        failures = self._failures.get(key, 0) + 1 if outcome.holds_up else 0
        self._failures[key] = failures
        pause = outcome.pause_seconds or self.backoff.get_pause(max(delivery.attempts, failures))
        resting = pause if outcome.holds_up else self.interval
        self._resting_until[key] = time.monotonic() + resting
        if outcome.error is None:
            notification_deliveries.settle(session, delivery, DeliveryState.DELIVERED)
            return
        reason = f"{receiver.name[:1].upper()}{receiver.name[1:]} was not told: {outcome.error}."
        if outcome.is_gone:
            notification_deliveries.settle(session, delivery, DeliveryState.GONE, reason)
            self._gone.add(key)
        elif not notification_deliveries.defer(session, delivery, pause, reason):
            logger.warning(
                "{} is not told of {} any more: {}", receiver.name, claim.notification.event, outcome.error
            )

    def find_seconds_until_due(self) -> float | None:
        """Return the seconds until a receiver may be sent something; None when nothing is due."""
        ready, now = self.ready, time.monotonic()
        with self.sessions() as session:
            due = notification_deliveries.find_seconds_until_due(session, ready)
        rests = [self._resting_until[key] - now for key in self.active if key not in ready]
        return min([*rests, *([] if due is None else [due])], default=None)

    def show_errors(self) -> None:
        """Store for the overview who is not told, and why."""
        with self.sessions.begin() as session:
            errors = notification_deliveries.list_errors(session)
            text = " ".join(errors[:MAX_SHOWN]) or None
            if text != self._shown:
                appliance.set_problem(session, "notifications", text)
                logger.log(
                    "WARNING" if text else "INFO", "{}", text or "everybody is told of everything again"
                )
        self._shown = text
