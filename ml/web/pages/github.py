"""Parts of pages about what vcs does: what is not seen or told, and a repository's URL."""

from sqlalchemy.orm import Session

from common.git_login import LOGIN_IN_URL
from db import appliance
from ml.settings import ModelConfig


def read_status_messages(session: Session) -> list[str]:
    found = {
        "Not all merges are seen": appliance.find_problem(session, "github"),
        "GitHub does not show everything": appliance.find_problem(session, "outbox"),
        "Not everybody is told": appliance.find_problem(session, "notifications"),
    }
    return [f"{what}: {problem}" for what, problem in found.items() if problem is not None]


def find_repository_url(model: ModelConfig) -> str | None:
    """Return the repository's URL for browsers, when its clone URL is one of https."""
    url = LOGIN_IN_URL.sub("", model.clone_url)
    return url.removesuffix(".git") if url.startswith("https://") else None
