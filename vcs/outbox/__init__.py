"""What GitHub is told, from the outbox: commit statuses, comments and GitHub deployments."""

from vcs.outbox.thread import OutboxThread

__all__ = ["OutboxThread"]
