"""Deploy: the decision, to be written together with the release's end."""

from db.claims import Deployed, Ended
from db.deployments import Seen
from db.models import Status
from ml.manifest import ReleaseSection


def decide(seen: Seen, section: ReleaseSection) -> Deployed | Ended:
    """Want it live, provided that what the gate compared with is still so; or leave it to a person."""
    if section.promote == "manual":
        waits = 'it passed the gate and waits to be deployed ([release] promote = "manual")'
        return Ended(Status.PASSED, waits)
    return Deployed(seen)
