"""Who may decide: the operators' token, where it is from and where it does not show."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from loguru import logger

from common.auth import operator_token, throttle
from ml.settings import MlSettings
from ml.web.auth import OperatorAuth
from tests.harness import plain_http
from tests.ml.serving.support import Shop, main_py

CALLS = [
    "/releases/1/deploy",
    "/releases/1/cancel",
    "/models/web-traffic/rollback",
    "/models/web-traffic/train",
    "/models/web-traffic/evaluate",
]


def test_whoever_has_no_token_changes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_DELAY_SECONDS", 0)
    for path, presented in product(
        CALLS, [b"", b"Bearer", b"Bearer wrong", b"Basic dXNlcjp4", b"Bearer \xfc"]
    ):
        headers = [(b"authorization", presented)] if presented else []
        answer = shop.client.post(shop.url + path, content=b"{" * 100, headers=headers)

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "SLIPWAY_TOKEN" in answer.json()["detail"]


def test_the_token_is_shown_once_and_kept_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    settings, said = MlSettings(), io.StringIO()  # type: ignore[call-arg]
    sink = logger.add(said)

    first = OperatorAuth.from_settings(settings)
    shown = said.getvalue()
    again = OperatorAuth.from_settings(settings)
    logger.remove(sink)

    assert first == again
    assert shown.count(first.token) == 1
    assert said.getvalue() == shown
    assert first.token not in repr(first)
    assert operator_token.token_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["token"]  # noqa: PTH208 (a name)


def test_of_many_first_starts_one_makes_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starts:
        made = list(starts.map(operator_token.create_if_missing, [tmp_path / str(n // 8) for n in range(64)]))

    assert sum(made) == 8


def test_a_token_that_was_given_is_the_only_one(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_TOKEN="a-token-of-our-own").serving() as shop:
        path = shop.url + "/models/web-traffic/rollback"
        given = plain_http.post(path, headers={"Authorization": "bearer a-token-of-our-own"})
        other = plain_http.post(path, headers={"Authorization": "Bearer a-token-of-our-own-"})

    assert given.status_code == 409
    assert other.status_code == 401
    assert not operator_token.token_path(shop.settings.home).exists()


@pytest.mark.parametrize("given", ["with a blank", "größe", "line\nline"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere")
    monkeypatch.setenv("SLIPWAY_TOKEN", given)

    with pytest.raises(ValueError, match="SLIPWAY_TOKEN") as error:
        MlSettings()  # type: ignore[call-arg]
    assert given not in str(error.value)


def test_the_model_gets_to_see_no_token(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_TOKEN="a-token-of-our-own").serving() as shop:
        shop.publish(main_py("return sorted(os.environ.values())"))
        seen = shop.predict(1).json()["prediction"]

    assert seen
    assert not any("a-token-of-our-own" in value for value in seen)


def test_the_model_cannot_read_the_kept_token(shop: Shop) -> None:
    shop.publish(main_py("return open(features).read()"))
    kept = operator_token.token_path(shop.settings.home)
    assert kept.is_file()

    for path in (kept, kept.parent / "releases/../token"):
        assert "predict() raised" in shop.predict(str(path)).json()["detail"]


def test_a_form_of_another_site_is_no_call(shop: Shop) -> None:
    own = {"Authorization": f"Bearer {operator_token.read_stored(shop.settings.home)}"}
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    for path, kind in product(CALLS, kinds):
        answer = shop.client.post(shop.url + path, content=b"{}", headers={**own, "Content-Type": kind})
        assert answer.status_code == 415


def test_a_body_that_makes_no_sense_is_named(shop: Shop) -> None:
    headers = {
        "Authorization": f"Bearer {operator_token.read_stored(shop.settings.home)}",
        "Content-Type": "application/json; charset=utf-8",
    }
    for body, status, said in [
        (b"{", 422, "Invalid JSON"),
        (b"[]", 422, "Input should be an object"),
        (b'{"whom": "dana"}', 422, "whom: Extra inputs are not permitted"),
        (b'{"who": 7}', 422, "who: Input should be a valid string"),
        (b'{"why": "' + b"y" * 1001 + b'"}', 422, "why: String should have at most 1000 characters"),
        (b" " * 20_000, 413, "longer than"),
    ]:
        answer = shop.client.post(shop.url + "/models/web-traffic/rollback", content=body, headers=headers)
        assert answer.status_code == status
        assert said in answer.json()["detail"]
