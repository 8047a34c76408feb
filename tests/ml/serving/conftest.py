from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import session as db_session
from ml.settings import MlSettings
from tests.conftest import copy_database, url_as
from tests.harness.repositories import ModelRepository
from tests.ml.conftest import make_home
from tests.ml.serving.support import Shop, main_py


@pytest.fixture
def make_shop(
    url_of: Callable[[str], str],
    sessions: sessionmaker[Session],
    tmp_path: Path,
    shared_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Shop]:
    """A shop that nobody serves yet."""

    def make(**variables: str) -> Shop:
        repository = ModelRepository(tmp_path / "repository")
        environment = {**describe_shop(url_of("serve"), shared_home, repository), **variables}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Shop(MlSettings(), sessions, repository)  # type: ignore[call-arg]

    return make


def describe_shop(url: str, home: Path, repository: ModelRepository) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "SLIPWAY_HOME": str(home),
        "SLIPWAY_REPOSITORY": "acme/web-traffic",
        "SLIPWAY_CLONE_URL": repository.url,
    }


@pytest.fixture(scope="module")
def start_lasting_shop(
    postgres: Postgres, template_database: str, credentials: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Shop]]:
    """A shop that is served until the module's tests have ended, all of which only ask it."""
    with ExitStack() as stack:

        def start() -> Shop:
            folder: Path = tmp_path_factory.mktemp("shop")
            repository = ModelRepository(folder / "repository")
            url = stack.enter_context(copy_database(postgres, template_database))
            with pytest.MonkeyPatch.context() as patch:
                told = describe_shop(url_as("serve", url, credentials), make_home(folder), repository)
                for name, value in told.items():
                    patch.setenv(name, value)
                settings = MlSettings()  # type: ignore[call-arg]
            made = Shop(settings, db_session.create_sessionmaker(url), repository)
            stack.callback(made.sessions.kw["bind"].dispose)
            return stack.enter_context(made.serving())

        yield start


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A shop that is served."""
    with make_shop().serving() as served:
        yield served


@pytest.fixture
def two(make_shop: Callable[..., Shop], tmp_path: Path) -> Iterator[Shop]:
    """The models `one`, which says 1 and is what is published, and `other`, of which nothing is live."""
    file = tmp_path / "models.toml"
    url = (tmp_path / "repository").as_uri()
    file.write_text(
        "".join(f'[{name}]\nrepository = "acme/{name}"\nclone_url = "{url}"\n' for name in ("one", "other"))
    )
    with make_shop(SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="", SLIPWAY_MODELS=str(file)).serving() as shop:
        shop.publish(main_py("return 1"), info={"Name": "The one"})
        yield shop
