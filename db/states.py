"""The states of releases, stages and decisions, with the ways from one to the next."""

from enum import StrEnum


class Trigger(StrEnum):
    MERGE = "merge"
    PUSH = "push"
    TAG = "tag"
    MANUAL = "manual"
    SCHEDULE = "schedule"
    DATA = "data"
    DRIFT = "drift"
    DECAY = "decay"
    CHECK = "check"  # of an open pull request: it is judged, and can be deployed by nobody
    UNKNOWN = "unknown"


CHANGE_TRIGGERS = (Trigger.MERGE, Trigger.PUSH)  # of the model's branch: a commit has one release of either
# of the live commit, on newer data
RETRAIN_TRIGGERS = (Trigger.SCHEDULE, Trigger.DATA, Trigger.DRIFT, Trigger.DECAY)


class Status(StrEnum):
    QUEUED = "queued"
    BUILDING = "building"
    PASSED = "passed"  # it passed the gate and somebody has to deploy it
    DEPLOYED = "deployed"  # it passed the gate, which made its deployment
    CHECKED = "checked"  # a check that passed the gate
    REJECTED = "rejected"  # the commit's fault
    FAILED = "failed"  # external, after five attempts, or ours
    SUPERSEDED = "superseded"  # a newer merge came before it was begun, or before a retraining was finished
    UNTOUCHED = "untouched"  # nothing changed in the folders of the repository that the model is made of
    CANCELLED = "cancelled"  # an operator ended it
    UNKNOWN = "unknown"

    @property
    def has_ended(self) -> bool:
        return self not in (Status.QUEUED, Status.BUILDING)

    @property
    def next(self) -> frozenset["Status"]:
        """The statuses that a release of this one can get."""
        return RELEASE_TRANSITIONS.get(self, frozenset())

    @property
    def previous(self) -> frozenset["Status"]:
        """The statuses from which a release can get this one."""
        return frozenset(status for status in Status if self in status.next)


RELEASE_TRANSITIONS = {
    # of a merge group with the files of another check, `checked` at once
    Status.QUEUED: frozenset({Status.BUILDING, Status.CHECKED, Status.SUPERSEDED, Status.CANCELLED}),
    Status.BUILDING: frozenset(
        {
            Status.QUEUED,  # deferred, or its builder ended
            Status.PASSED,
            Status.DEPLOYED,
            Status.CHECKED,
            Status.REJECTED,
            Status.FAILED,
            Status.SUPERSEDED,
            Status.UNTOUCHED,
            Status.CANCELLED,
        }
    ),
    Status.PASSED: frozenset({Status.DEPLOYED}),
}


class StageOutcome(StrEnum):
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"  # its result was taken from a check of the same code
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    GATE = "gate"
    OPERATOR = "operator"
    ROLLBACK = "rollback"
    AUTOMATIC_ROLLBACK = "automatic rollback"
    PROMOTION = "promotion"
    UNKNOWN = "unknown"


class DeploymentState(StrEnum):
    """A decision's state: wanted until it is live, failed or overruled. Only the newest can be wanted."""

    WANTED = "wanted"
    LIVE = "live"  # it has reached users; the newest of these is what they get
    FAILED = "failed"
    OVERRULED = "overruled"  # a newer decision was made before it was live
    UNKNOWN = "unknown"

    @property
    def next(self) -> frozenset["DeploymentState"]:
        """The states that a decision in this one can get: what is no longer wanted stays as it ended."""
        return DEPLOYMENT_TRANSITIONS.get(self, frozenset())

    @property
    def previous(self) -> frozenset["DeploymentState"]:
        """The states from which a decision can get this one."""
        return frozenset(state for state in DeploymentState if self in state.next)


DEPLOYMENT_TRANSITIONS = {
    DeploymentState.WANTED: frozenset(
        {DeploymentState.LIVE, DeploymentState.FAILED, DeploymentState.OVERRULED}
    )
}


class OutboxState(StrEnum):
    """The state of what GitHub should show."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REFUSED = "refused"  # GitHub does not take it, or not from this token
    CLOSED = "closed"  # nothing more is written: a person deleted the comment, or nobody may comment
    UNKNOWN = "unknown"

    @property
    def next(self) -> frozenset["OutboxState"]:
        """The states that a subject in this one can get: a newer state of a closed one is not delivered."""
        return OUTBOX_TRANSITIONS.get(self, frozenset())


class DeliveryState(StrEnum):
    """The state of a notification's delivery to one receiver."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXPIRED = "expired"  # it was tried for a day
    GONE = "gone"  # the receiver wants no more messages, this one or others
    UNKNOWN = "unknown"


OUTBOX_TRANSITIONS = {
    OutboxState.PENDING: frozenset({OutboxState.DELIVERED, OutboxState.REFUSED, OutboxState.CLOSED}),
    OutboxState.DELIVERED: frozenset({OutboxState.PENDING}),
    OutboxState.REFUSED: frozenset({OutboxState.PENDING, OutboxState.DELIVERED, OutboxState.CLOSED}),
}


class RetrainingState(StrEnum):
    """The state of a retraining that fell due, or that was suggested."""

    SUGGESTED = "suggested"  # it waits for an operator
    WAITING = "waiting"  # to be compared with what is live
    STARTED = "started"  # it made a release, which has the outcome
    UNCHANGED = "unchanged"  # a release would have been trained on the very same as what is live
    SUPERSEDED = "superseded"  # another commit went live or was merged before it made a release
    FAILED = "failed"  # the process that was to make its release died each time
    UNKNOWN = "unknown"

    @property
    def next(self) -> frozenset["RetrainingState"]:
        """The states that a retraining in this one can get."""
        return RETRAINING_TRANSITIONS.get(self, frozenset())

    @property
    def previous(self) -> frozenset["RetrainingState"]:
        """The states from which a retraining can get this one."""
        return frozenset(state for state in RetrainingState if self in state.next)


RETRAINING_TRANSITIONS = {
    RetrainingState.SUGGESTED: frozenset({RetrainingState.WAITING, RetrainingState.SUPERSEDED}),
    RetrainingState.WAITING: frozenset(
        {
            RetrainingState.STARTED,
            RetrainingState.UNCHANGED,
            RetrainingState.SUPERSEDED,
            RetrainingState.FAILED,
        }
    ),
}
