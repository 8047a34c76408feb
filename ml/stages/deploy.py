"""Deploy: the decision, to be written together with the release's end."""

from collections.abc import Sequence

from db.claims import Deployed, Ended
from db.deployments import Seen
from db.models import Status
from ml.manifest import ReleaseSection


def decide(seen: Seen, section: ReleaseSection, unjudged: Sequence[str] = ()) -> Deployed | Ended:
    """Want it live, provided that what the gate compared with is still so; or leave it to a person.

    `unjudged` is what the gate could not compare.
    """
    if unjudged:
        return Ended(Status.PASSED, f"it waits for an operator: no rule is broken, but {'; '.join(unjudged)}")
    if section.promote == "manual":
        waits = 'it passed the gate and waits to be deployed ([release] promote = "manual")'
        return Ended(Status.PASSED, waits)
    return Deployed(seen)
