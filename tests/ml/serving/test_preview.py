"""Any release that has a model can be tried beside the live one, which does not notice."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from db.models import Release
from db.states import Status
from ml.controller import gc
from ml.paths import HomeLayout
from tests.harness.processes import mentioning
from tests.harness.recorded import read_rows
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py

TWICE, THRICE = main_py("return features * 2"), main_py("return features * 3")
OPERATOR = {"Authorization": "Bearer a-token-of-our-own"}
HTML = {"Accept": "text/html"}
EAT = """
    if features == "eat":
        import mmap
        populate = 0x8000  # the kernel takes all of it at once
        block = mmap.mmap(-1, 600 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | populate)
        time.sleep(600)
    return features
"""


@pytest.fixture
def small(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A shop whose previews may hold 256 MiB."""
    with make_shop(SLIPWAY_PREVIEW_MEMORY="256MiB").serving() as shop:
        yield shop


def reject(shop: Shop, source: str, **facts: Any) -> int:
    return shop.publish(source, status=Status.REJECTED, **facts)


def attempt(shop: Shop, release: object, features: Any, **more: Any) -> httpx.Response:
    return shop.client.post(f"{shop.url}/releases/{release}/predict", json=features, **more)


def state(shop: Shop, release: int) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"/releases/{release}/predict").json()
    return found


def stop(shop: Shop, release: int) -> httpx.Response:
    return shop.client.post(f"{shop.url}/releases/{release}/predict/stop")


def workers(shop: Shop) -> list[psutil.Process]:
    """The processes of previews."""
    found = mentioning(shop.settings.home / "releases")
    return [process for process in found if any(word.endswith("/preview") for word in process.cmdline())]


def test_rejected_release_answers_beside_the_live_one(small: Shop) -> None:
    live = small.publish(TWICE)
    rank = "open('/proc/self/oom_score_adj').read(), os.nice(0), os.getpriority(os.PRIO_PROCESS, 0)"
    rejected = reject(small, main_py(f"return [features * 3, {rank}]"))
    assert workers(small) == []

    answer = attempt(small, rejected, 7)

    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["prediction"] == [21, "1000\n", 19, 19]
    assert (document["release"], answer.headers["X-Slipway-Release"]) == (rejected, str(rejected))
    assert (document["live"]["prediction"], document["live"]["release"]) == (14, live)
    assert small.predict(7).json()["prediction"] == 14
    assert small.served() == live
    assert {row.release_id for row in read_rows(small.sessions)} <= {live}
    assert state(small, rejected)["state"] == "ready"
    assert stop(small, rejected).status_code == 202
    assert workers(small) == []


def test_any_release_can_be_tried_while_nothing_is_live(small: Shop) -> None:
    for status in (Status.PASSED, Status.SUPERSEDED, Status.FAILED, Status.CANCELLED, Status.BUILDING):
        release = small.publish(THRICE + f"# {status}\n", status=status)
        answer = attempt(small, release, 2)
        assert (answer.status_code, answer.json().get("prediction")) == (200, 6), answer.text
        assert answer.json()["live"] is None
        stop(small, release)


def test_a_preview_that_eats_memory_leaves_live_unharmed(make_shop: Callable[..., Shop]) -> None:
    limits = {"SLIPWAY_PREVIEW_MEMORY": "256MiB", "SLIPWAY_PREDICT_TIMEOUT": "250"}
    with make_shop(**limits).serving() as shop:
        shop.publish(TWICE)
        eat_memory(shop)


def eat_memory(small: Shop) -> None:
    hungry = reject(small, main_py(EAT))
    assert attempt(small, hungry, 1).json()["prediction"] == 1

    with Load(small, clients=2) as load:
        answer = attempt(small, hungry, "eat", timeout=250)
        load.wait_for(50)

    assert answer.status_code == 500
    assert answer.json()["title"] == "The preview has ended"
    assert "its memory limit of 0.25 GiB (SLIPWAY_PREVIEW_MEMORY)" in answer.json()["detail"]
    assert load.failed == []
    assert workers(small) == []
    assert attempt(small, hungry, 2).json()["prediction"] == 2  # asked for again, it starts again


def test_preview_nobody_uses_is_stopped(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_PREVIEW_IDLE="2", SLIPWAY_PREVIEW_MEMORY="256MiB").serving() as shop:
        release = reject(shop, main_py("time.sleep(features)\nreturn features"))
        assert attempt(shop, release, 4).json()["prediction"] == 4  # longer than it may be idle

        wait_until(lambda: state(shop, release)["state"] == "stopped", 60, "the preview is stopped")

        assert state(shop, release)["reason"] == "it was stopped after 2 s without a request"
        wait_until(lambda: workers(shop) == [], 30, "its worker is gone")


def test_third_preview_is_refused_until_one_is_stopped(small: Shop) -> None:
    one, two, three = (reject(small, THRICE + f"# {number}\n") for number in range(3))
    for release in (one, two):
        assert attempt(small, release, 1).status_code == 200

    answer = attempt(small, three, 1)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert f"release {one} and release {two} run" in answer.json()["detail"]
    page = small.client.post(f"{small.url}/releases/{three}/predict", data={}, headers=form_headers(small))
    assert page.status_code == 503
    assert "stop one on its page" in page.text
    stop(small, one)
    assert attempt(small, three, 1).json()["prediction"] == 3


@pytest.mark.parametrize(("memory", "stays"), [("900GiB", False), ("128MiB", True)])
def test_deployment_that_needs_the_room_ends_a_preview(
    make_shop: Callable[..., Shop], memory: str, stays: bool
) -> None:
    with make_shop(SLIPWAY_MEMORY=memory, SLIPWAY_PREVIEW_MEMORY="128MiB").serving() as shop:
        tried = reject(shop, THRICE)
        assert attempt(shop, tried, 1).status_code == 200

        shop.publish(TWICE)

        assert (state(shop, tried)["state"] == "ready") is stays
        assert shop.predict(2).json()["prediction"] == 4
        if not stays:
            assert state(shop, tried)["reason"] == "it was stopped: a deployment needed its memory"
            assert workers(shop) == []


def test_what_cannot_be_tried_says_why_and_what_to_do(small: Shop) -> None:
    unbuilt = reject(small, THRICE, artifact=None)
    queued = small.publish(THRICE + "# q\n", artifact=None, status=Status.QUEUED)
    pruned, gone = reject(small, THRICE + "# p\n"), reject(small, THRICE + "# g\n")
    with small.sessions.begin() as session:
        release = session.get_one(Release, pruned)
        release.pruned_at = release.created_at
    HomeLayout(small.settings.home).artifact_path(small.model, gone).unlink()

    for number, status, said in [
        (99, 404, "There is no release 99"),
        (unbuilt, 409, "has no trained model: it is rejected"),
        (queued, 409, "Wait until it is trained"),
        (pruned, 410, "was removed to save space (SLIPWAY_KEEP)"),
        (gone, 410, "train its commit again"),
    ]:
        answer = attempt(small, number, 1)
        page = small.client.get(f"{small.url}/releases/{number}/predict", headers=HTML)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, page.status_code) == (status, status)
        assert said in answer.json()["detail"]
        assert "Try it" not in small.get(f"/releases/{number}", "text/html").text
    assert workers(small) == []


def test_no_preview_without_free_memory(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_PREVIEW_MEMORY="900GiB").serving() as shop:
        answer = attempt(shop, reject(shop, THRICE), 1)
    assert answer.status_code == 503
    assert "A preview needs 900 GiB of free memory, and " in answer.json()["detail"]


def test_previews_can_be_turned_off(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_PREVIEW="off").serving() as shop:
        release = reject(shop, THRICE)
        answer = attempt(shop, release, 1)
        page = shop.get(f"/releases/{release}", "text/html").text
    assert (answer.status_code, answer.json()["title"]) == (404, "Previews are off")
    assert "Try it" not in page


def test_worker_that_does_not_start_shows_its_last_lines(small: Shop) -> None:
    broken = reject(small, "print('line', 1)\nprint('<b>\\x1b[31m' + 'x')\nraise ValueError('no such file')")

    answer = attempt(small, broken, 1)
    page = small.client.get(f"{small.url}/releases/{broken}/predict", headers=HTML).text

    assert (answer.status_code, answer.json()["title"]) == (500, "The preview did not start")
    assert "no such file" in answer.json()["detail"]
    assert "line 1" in answer.json()["detail"]
    assert "\x1b" not in answer.json()["detail"]
    assert "&lt;b&gt;\\x1b[31mx" in page
    assert "Start again" in page
    assert state(small, broken)["state"] == "stopped"


def test_wrong_features_get_the_messages_of_predict(small: Shop) -> None:
    typed = main_py("return features", features="features: int")
    small.publish(typed)
    release = reject(small, typed + "# other\n")
    for body in (b'"x"', b"{", b"", b"[1", b"NaN", b'{"a": [1]}'):
        mine = small.client.post(f"{small.url}/releases/{release}/predict", content=body)
        its = small.client.post(f"{small.url}/predict", content=body)
        assert mine.status_code == its.status_code
        assert [mine.json()[name] for name in ("title", "detail")] == [
            its.json()[name] for name in ("title", "detail")
        ]


def test_a_refusal_of_the_live_model_shows_the_preview_alone(small: Shop) -> None:
    small.publish(main_py("return 1 / 0"))
    answer = attempt(small, reject(small, THRICE), 1).json()
    assert answer["prediction"] == 3
    assert answer["live"]["title"] == "The model failed"


def test_large_answers_of_both_are_whole(small: Shop) -> None:
    small.publish(main_py("return ['a' * features, features]"))
    answer = attempt(small, reject(small, main_py("return ['b' * features, features]")), 200_000).json()
    assert answer["prediction"] == ["b" * 200_000, 200_000]
    assert answer["live"]["prediction"] == ["a" * 200_000, 200_000]


def test_hostile_numbers_and_bodies(small: Shop) -> None:
    release = reject(small, TWICE)
    for number, status in [
        *((text, 422) for text in ("x", "1.5", "1e3", "%00", "9" * 5000, "%F0%9F%98%80", "null")),
        *((text, 404) for text in ("0", "-1", str(2**31), str(2**63), str(10**30), "1%2F2")),
    ]:
        for answer in (attempt(small, number, 1), small.get(f"/releases/{number}/predict")):
            assert answer.status_code == status, (number, answer.text[:200])
            assert answer.headers["content-type"] == "application/problem+json"
    address = f"{small.url}/releases/{release}/predict"
    for body, status in [(b"[" + b"1," * (1 << 20) + b"1]", 413), (b"[" * 100_000, 400), (b"\xff", 400)]:
        assert small.client.post(address, content=body).status_code == status
    assert workers(small) == []
    nested = b"[" * 60 + b"]" * 60
    assert small.client.post(address, content=nested).status_code in (200, 400, 500)
    assert small.client.get(address + "?x=" + "9" * 9000, headers=HTML).status_code < 500


def test_beyond_loopback_previews_are_for_operators(make_shop: Callable[..., Shop]) -> None:
    told = {"SLIPWAY_PUBLISHED": "0.0.0.0", "SLIPWAY_PRIVATE": "0", "SLIPWAY_TOKEN": "a-token-of-our-own"}
    with make_shop(**told, SLIPWAY_PREVIEW_MEMORY="256MiB").serving() as shop:
        release = reject(shop, THRICE)
        assert attempt(shop, release, 1).status_code == 401
        assert attempt(shop, release, 1, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert stop(shop, release).status_code == 401
        assert shop.get(f"/releases/{release}/predict").status_code == 401
        assert "Try it" not in shop.get(f"/releases/{release}", "text/html").text
        assert attempt(shop, release, 1, headers=OPERATOR).json()["prediction"] == 3
        shown = shop.client.get(f"{shop.url}/releases/{release}", headers=OPERATOR | HTML).text
        assert "Try it" in shown


def test_loopback_is_open_to_this_machine_and_to_no_other_site(small: Shop) -> None:
    release = reject(small, THRICE)
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    assert attempt(small, release, 1, headers=proxied).status_code == 401
    assert small.client.get(f"{small.url}/releases/{release}/predict", headers=proxied).status_code == 401
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert attempt(small, release, 1, headers=headers).status_code == 403
        form = form_headers(small) | headers
        assert small.client.post(f"{small.url}/releases/{release}/predict", headers=form).status_code == 403
    assert workers(small) == []


def form_headers(shop: Shop) -> dict[str, str]:
    """What a browser sends with a form of one of our pages."""
    return {**HTML, "Origin": shop.url, "Content-Type": "application/x-www-form-urlencoded"}


def test_the_page_shows_both_answers_and_recorded_requests(small: Shop) -> None:
    small.publish(TWICE)
    for features in (1, 0):
        small.predict(features)
    wait_until(lambda: count_recorded(small) == 2, 30, "both are recorded")
    release = reject(small, THRICE)
    address = f"{small.url}/releases/{release}/predict"

    assert "Start the preview" in small.client.get(address, headers=HTML).text
    assert workers(small) == []
    begun = small.client.post(address + "?x=5", data={}, headers=form_headers(small))
    assert (begun.status_code, begun.headers["Location"]) == (303, f"/releases/{release}/predict?x=5")
    wait_until(lambda: state(small, release)["state"] == "ready", 60, "it is ready")
    page = small.client.get(address + "?x=5", headers=HTML).text

    assert '<p class="result">15</p>' in page
    assert '<p class="result">10</p>' in page
    assert "Of the 2 newest recorded requests, 1 gets another prediction." in page
    assert small.client.get(address, headers=HTML | {"HX-Request": "true"}).headers["HX-Refresh"] == "true"
    assert count_recorded(small) == 2


def count_recorded(shop: Shop) -> int:
    return len(read_rows(shop.sessions))


def test_recorded_requests_that_end_it_are_not_sent_again(small: Shop) -> None:
    small.publish(main_py("return 1"))
    small.predict("die")
    wait_until(lambda: count_recorded(small) == 1, 30, "it is recorded")
    release = reject(small, main_py("if features == 'die': os.kill(os.getpid(), 9)\nreturn features"))
    address = f"{small.url}/releases/{release}/predict"

    assert attempt(small, release, 1).status_code == 200
    assert "Start again" in small.client.get(address, headers=HTML).text
    assert attempt(small, release, 1).status_code == 200
    assert "Recorded requests are not sent to it again" in small.client.get(address, headers=HTML).text
    assert state(small, release)["state"] == "ready"


def test_garbage_collection_leaves_the_files_of_a_preview(small: Shop) -> None:
    release, home = reject(small, THRICE), HomeLayout(small.settings.home)
    assert attempt(small, release, 1).status_code == 200
    gc.sweep_releases(home, [])
    assert (home.source_path(release) / "main.py").is_file()
    stop(small, release)
    gc.sweep_releases(home, [])
    assert not home.source_path(release).exists()


def test_previews_end_with_the_service(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(SLIPWAY_PREVIEW_MEMORY="256MiB")
    with shop.serving():
        assert attempt(shop, reject(shop, THRICE), 1).status_code == 200
        assert len(workers(shop)) > 0
    assert workers(shop) == []
