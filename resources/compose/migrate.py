"""Brings the database to the newest schema and holds it to what it has followed."""

from pydantic import Field

from common.settings import Settings as Base
from db import appliance, migrate
from db.session import sessions


class Settings(Base):
    database_url: str
    demo: bool = Field(False, validation_alias="SLIPWAY_DEMO")


def main() -> None:
    """`SystemExit` with one clear line when this database followed the demo and now a repository, or so."""
    migrate.main()
    settings = Settings()
    with sessions(settings.database_url).begin() as session:
        try:
            appliance.follow(session, "demo" if settings.demo else "repository")
        except appliance.Mismatch as mismatch:
            cure = "`docker compose --project-name ANOTHER up` has volumes of its own"
            raise SystemExit(f"{mismatch}; {cure}") from mismatch


if __name__ == "__main__":
    main()
