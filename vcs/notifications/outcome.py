"""The outcome of one try to send a message."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SendOutcome:
    """`error` is a clause about the receiver with what to do, None where it took the message."""

    error: str | None = None
    is_gone: bool = False  # it wants no more messages
    holds_up: bool = False  # it answers nothing, or asks for a pause: others to it wait as well
    pause_seconds: float | None = None  # that it asks for

    @property
    def is_delivered(self) -> bool:
        return self.error is None


DELIVERED = SendOutcome()
