from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from ml.settings import Settings
from tests.ml.serving.support import Shop, main_py
from tests.support.repositories import ModelRepository


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
        environment = {
            "DATABASE_URL": url_of("serve"),
            "SLIPWAY_HOME": str(shared_home),
            "SLIPWAY_REPOSITORY": "acme/web-traffic",
            "SLIPWAY_CLONE_URL": repository.url,
            **variables,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Shop(Settings(), sessions, repository)  # type: ignore[call-arg]

    return make


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
