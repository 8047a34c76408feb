"""The containers' migration: the newest schema, and a check that the database follows the same kind."""

from pydantic import Field

from common.settings import Settings as Base
from db import appliance, migrate
from db.session import create_sessionmaker


class Settings(Base):
    database_url: str
    demo: bool = Field(False, validation_alias="SLIPWAY_DEMO")


def main() -> None:
    """Migrate the database; raises `SystemExit` with one line when it followed the other kind."""
    migrate.main()
    settings = Settings()
    with create_sessionmaker(settings.database_url).begin() as session:
        try:
            appliance.set_mode(session, "demo" if settings.demo else "repository")
        except appliance.WrongDatabaseError as mismatch:
            hint = "`docker compose --project-name ANOTHER up` has volumes of its own"
            raise SystemExit(f"{mismatch}; {hint}") from mismatch


if __name__ == "__main__":
    main()
