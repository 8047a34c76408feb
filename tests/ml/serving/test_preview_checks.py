"""A check of a pull request can be tried as well: as the check's user, with little of what users sent."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.models import Release
from db.states import Status, Trigger
from ml.sandbox import uids
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_preview import HTML, TWICE, attempt, count_recorded, stop, workers

NUMBER = 7  # of the pull request


@pytest.fixture
def make_small(make_shop: Callable[..., Shop], tmp_path: Path) -> Callable[..., Shop]:
    """A shop whose previews may hold 256 MiB, with these settings for its checks."""

    def make(checks: str = "", **variables: str) -> Shop:
        file = tmp_path / "models.toml"
        clone = (tmp_path / "repository").as_uri()
        file.write_text(f'[web-traffic]\nrepository = "acme/web-traffic"\nclone_url = "{clone}"\n{checks}')
        variables |= {"SLIPWAY_REPOSITORY": "", "SLIPWAY_CLONE_URL": "", "SLIPWAY_MODELS": str(file)}
        return make_shop(SLIPWAY_PREVIEW_MEMORY="256MiB", **variables)

    return make


@pytest.fixture
def small(make_small: Callable[..., Shop]) -> Iterator[Shop]:
    with make_small().serving() as shop:
        yield shop


def check(shop: Shop, source: str, status: Status = Status.CHECKED, **facts: Any) -> int:
    facts = {"trigger": Trigger.CHECK, "status": status, "pull_request": NUMBER, **facts}
    return shop.publish(source, **facts)


def record_one(shop: Shop, features: Any = 1) -> None:
    shop.predict(features)
    wait_until(lambda: count_recorded(shop) == 1, 30, "it is recorded")


def show_page(shop: Shop, release: int) -> str:
    assert attempt(shop, release, 1).status_code == 200
    return shop.client.get(f"{shop.url}/releases/{release}/predict", headers=HTML).text


@pytest.mark.parametrize("status", [Status.CHECKED, Status.REJECTED])
def test_check_answers_beside_the_live_one_as_its_own_user(small: Shop, status: Status) -> None:
    live = small.publish(main_py("return [features * 2, os.getuid()]"))
    release = check(small, main_py("return [features * 3, os.getuid()]"), status)
    assert "Try it" in small.get(f"/releases/{release}", "text/html").text

    answer = attempt(small, release, 7).json()

    assert (answer["release"], answer["live"]["release"]) == (release, live)
    assert (answer["prediction"][0], answer["live"]["prediction"][0]) == (21, 14)
    if uids.can_switch(small.settings.home):
        own = uids.uid_for(small.settings.home, f"{small.model}@{NUMBER}")
        its = uids.uid_for(small.settings.home, small.model)
        assert (answer["prediction"][1], answer["live"]["prediction"][1]) == (own, its)
        assert own != its
    assert small.release(release).status is status
    assert stop(small, release).status_code == 202
    assert workers(small) == []


def test_no_preview_of_a_check_uses_the_models_artifact(small: Shop) -> None:
    release = check(small, TWICE)
    home = small.settings.home
    mine = home / "artifacts" / f"{small.model}@{NUMBER}" / str(release)
    other = home / "artifacts" / small.model / str(release)
    other.parent.mkdir(parents=True, exist_ok=True)
    mine.rename(other)

    assert attempt(small, release, 1).status_code == 410
    assert "Try it" not in small.get(f"/releases/{release}", "text/html").text


def test_own_branch_is_shown_before_and_after(small: Shop) -> None:
    small.publish(TWICE)
    record_one(small)
    assert "Of the 1 newest recorded requests, 1 gets another" in show_page(
        small, check(small, main_py("return 9"))
    )


def test_fork_is_sent_no_recorded_request(small: Shop) -> None:
    small.publish(TWICE)
    record_one(small, "what a user sent")
    release = check(small, main_py("print(features)\nreturn 9"), is_fork=True)

    page = show_page(small, release)

    assert "Recorded requests are not sent to it: it was made from another repository, a fork." in page
    assert "what a user sent" not in page + small.get(f"/releases/{release}/logs").text


@pytest.mark.parametrize("switch", ["on", "off"])
def test_nothing_is_shown_where_the_operator_said_no(make_small: Callable[..., Shop], switch: str) -> None:
    off = "[web-traffic.checks]\nshow_rows = false\n"
    with make_small(off, SLIPWAY_CHECKS=switch).serving() as shop:
        shop.publish(TWICE)
        record_one(shop)
        page = show_page(shop, check(shop, main_py("return 9")))
    assert "the operator has set show_rows = false in models.toml" in page


def test_what_is_not_known_counts_as_no(small: Shop) -> None:
    [model] = small.settings.list_models()
    assert not model.may_show_requests(Release(model=model.name, is_fork=None))
    assert not model.may_show_requests(Release(model=model.name, is_fork=True))
    assert model.may_show_requests(Release(model=model.name, is_fork=False))
