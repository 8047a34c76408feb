"""What pages say of GitHub: that it is not heard, and what to do."""

from sqlalchemy.orm import Session

from db import appliance


def said(session: Session) -> list[str]:
    trouble = appliance.trouble(session, "github")
    return [f"Merges are not seen: {trouble}"] if trouble is not None else []
