"""What pages say of GitHub: that it is not heard, and what to do."""

from sqlalchemy.orm import Session

from db import appliance


def said(session: Session) -> list[str]:
    deaf = appliance.deaf(session)
    return [f"Merges are not seen: {deaf.github}"] if deaf is not None else []
