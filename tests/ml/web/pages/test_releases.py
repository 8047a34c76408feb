"""The overview and the pages of releases: every word true, every value readable, who decided and why."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cli import client
from db import deployments
from db.models import Release, Stage
from db.states import Cause, StageOutcome, Status, Trigger
from ml.settings import ModelConfig
from ml.web.pages import github
from ml.web.pages.dashboard_data import build_trend
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.web.pages.test_pages import EVIL, HTML, text


def test_a_schema_stays_off_the_page_and_nested_values_are_cut(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"secret_field": {"type": "integer"}}}
    info = {"features": schema, "Authors": ["Ann", "Bo"], "Deep": {"a": [{"b": EVIL}] * 50}}
    shop.publish(main_py(), info=info)

    page = shop.get("/", HTML).text

    assert "secret_field" not in page
    assert "Authors Ann, Bo" in text(page)
    assert '{"a": [{"b": "<script>' in text(page)
    assert "<script>alert" not in page
    cut = re.findall(r"<dd><details><summary><code>(.*?)</code>", page)[0]
    assert cut.endswith("…")
    assert text(page).count("alert(") > 50  # the whole is in the details


def test_a_login_in_the_address_of_a_repository_is_on_no_page() -> None:
    model = ModelConfig("churn", "acme.com/team/churn", "https://me:s3cret@acme.com/team/churn.git", "main")
    assert github.find_repository_url(model) == "https://acme.com/team/churn"


def test_a_release_page_shows_who_decided_and_how_it_ended(shop: Shop) -> None:
    first, second = shop.publish(main_py()), shop.publish(main_py("return 2"))
    assert not re.findall("Roll back", shop.get("/", HTML).text)
    with shop.sessions.begin() as session:
        deployments.roll_back(session, shop.model, cause=Cause.ROLLBACK, who="ana", why="<too slow>")
    shop.until_live(first)

    old, new = (text(shop.get(f"/releases/{number}", HTML).text) for number in (first, second))

    assert re.search(r"Rolled back to by ana, “<too slow>”. Live since \S+ \S+ UTC", old)
    assert re.search(r"Deployed by test. Live from \S+ \S+ UTC to \S+ \S+ UTC", old)
    assert old.index("Rolled back to") < old.index("Deployed by test")
    assert "· live since 2" in old
    assert re.search(r"Its commit is in quarantine since \S+ \S+ UTC : <too slow>", new)


def test_a_release_by_hand_says_who_asked_and_keeps_its_title(shop: Shop) -> None:
    merge = shop.release(shop.publish(main_py(), title="Better seasons"))
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": merge.repository, "commit": merge.commit}
        asked = Release(
            **facts, trigger="manual", requested_by="ana", title="fresh data", status=Status.FAILED
        )
        session.add(asked)
        session.flush()

    page = text(shop.get(f"/releases/{asked.id}", HTML).text)

    assert "#1 Better seasons again: fresh data" in page
    assert "manual, by ana" in page


def test_a_release_that_failed_to_start_is_not_shown_as_live(shop: Shop) -> None:
    live = shop.publish(main_py())
    bad = shop.publish("raise RuntimeError('no such file')\n", wait=False)
    wait_until(lambda: shop.get(f"/releases/{bad}").json()["failed_to_start"], 60, "it is told")
    listed = {one["id"]: one for one in shop.get("/releases").json()["releases"]}

    assert "no such file" in listed[bad]["failed_to_start"]
    assert listed[live]["failed_to_start"] is None
    assert re.findall(r'<circle [^>]*class="(\w+)"', shop.get("/", HTML).text) == ["live", "not"]
    lines = client.format_history(listed.values()).splitlines()
    assert [line for line in lines if "failed to start" in line and "no such file" in line]
    assert [one["id"] for one in shop.get("/releases?state=failed to start").json()["releases"]] == [bad]


def test_the_live_release_is_held_against_what_was_live_before(shop: Shop) -> None:
    shop.publish(main_py())
    shop.publish(main_py(), status=Status.REJECTED)
    live = shop.publish(main_py(), metrics={"SMAPE": 0.2})

    assert "SMAPE 0.2 0.25 -20.0%" in text(shop.get(f"/releases/{live}", HTML).text)


def test_live_stands_out_on_a_curve_and_small_changes_are_small() -> None:
    statuses = (Status.DEPLOYED, Status.DEPLOYED, Status.REJECTED, Status.PASSED)
    scored = [
        Release(id=number, status=status, metrics={"SMAPE": 0.5 + number / 1e5})
        for number, status in enumerate(statuses, 1)
    ]

    drawn = build_trend("SMAPE", scored, live=1, failed=())

    assert [dot.state for dot in drawn.points] == ["live", "served", "not", "waits"]
    assert max(dot.y for dot in drawn.points) - min(dot.y for dot in drawn.points) < 1
    assert drawn.line.count(",") == 2


def test_what_the_gate_judges_stands_first_among_metrics(shop: Shop) -> None:
    metrics = {"A": 1.0, "B": 2.0, "SMAPE": 3.0}
    rule = {"metric": "SMAPE", "value": 3, "live": None, "change": None, "rule": "at most 9", "passed": True}
    gate = {"rules": [rule], "note": None, "compared_with": None, "passed": True}
    for _ in range(2):
        release = shop.publish(main_py(), metrics=metrics, verdict=gate, info={"Evaluation metric": "B"})

    for path in ("/", "/releases", f"/releases/{release}"):
        page = text(shop.get(path, HTML).text).split("What it is")[0]
        assert re.search(r"SMAPE 3 .*B 2 ", page), path
    assert list(shop.get("/").json()["metrics"]) == ["SMAPE", "B", "A"]


def listed(shop: Shop, query: str) -> list[int]:
    return [release["id"] for release in shop.get(f"/releases?{query}").json()["releases"]]


def test_releases_are_found_by_model_state_and_text(shop: Shop) -> None:
    live = shop.publish(main_py(), title="Better seasons", author="ana")
    broken = shop.publish("1 / 0", wait=False)
    shop.until(broken, "failed")
    with shop.sessions.begin() as session:
        facts = {"model": "other", "repository": "acme/other", "commit": "abcdef" + "0" * 34}
        session.add(other := Release(**facts, status=Status.REJECTED, reason="100 % worse", pull_request=7))
        session.flush()
        other = other.id

    assert listed(shop, "model=other") == listed(shop, "state=rejected") == [other]
    assert listed(shop, "state=live") == [live]
    assert listed(shop, "state=failed+to+start") == [broken]
    assert listed(shop, "text=SEASONS") == listed(shop, "text=ana") == [live]
    assert listed(shop, "text=100+%25") == listed(shop, "text=abcd") == listed(shop, "text=%237") == [other]
    assert listed(shop, "text=_") == listed(shop, "model=other&state=live") == []
    assert listed(shop, "text=%00ana&model=&state=") == [live]
    assert shop.get("/releases?state=odd").status_code == 422
    assert shop.get(f"/releases?text={'x' * 201}").status_code == 422
    page = shop.get("/releases?model=other&state=rejected&text=worse", HTML).text
    assert '<a href="/models/other">other</a>' in page
    assert re.findall("<option selected>(.*?)<", page) == ["other", "rejected"]
    assert 'value="worse"' in page
    assert "No release matches." in text(shop.get("/releases?text=nowhere", HTML).text)


@pytest.mark.parametrize("found", ["", "&text=even"])
def test_releases_are_paged_by_key_in_both_directions(shop: Shop, found: str) -> None:
    with shop.sessions.begin() as session:
        for number in range(1, 11):
            title = "odd" if number % 2 else "even"
            session.add(
                Release(
                    model="other", repository="a/b", commit=f"{number:040}", title=title, status="rejected"
                )
            )
    ids = listed(shop, f"limit=100{found}")

    first = shop.get(f"/releases?limit=2{found}").json()
    second = shop.get(first["older"]).json()
    last = shop.get(shop.get(second["older"]).json()["older"]).json() if not found else second
    back = shop.get(second["newer"]).json()

    assert [release["id"] for release in second["releases"]] == ids[2:4]
    assert (first["newer"], back) == (None, first)
    assert last["older"] is not None
    assert shop.get(f"/releases?after={ids[0]}").json() == {"releases": [], "older": None, "newer": None}
    links = re.findall('<a href="(.*?)" rel="(next|prev)"', shop.get(second["newer"], HTML).text)
    assert links == [(first["older"].replace("&", "&amp;"), "next")]


def test_a_release_leads_to_its_neighbours_and_shows_each_stage(shop: Shop) -> None:
    first, second, third = (shop.publish(main_py(), status=Status.REJECTED) for _ in range(3))
    with shop.sessions.begin() as session:
        facts = {"repository": "acme/other", "commit": "a" * 40, "status": Status.QUEUED}
        session.add(Release(model="other", **facts))
        session.add(Stage(release_id=second, name="checkout", outcome=StageOutcome.REJECTED))

    page = shop.get(f"/releases/{second}", HTML).text

    assert re.findall('<a href="(.*?)" rel="(.*?)"', page) == [
        (f"/releases/{first}", "prev"),
        (f"/releases/{third}", "next"),
    ]
    assert re.findall(r'<li class="(\w+)"', page) == ["rejected", *["ahead"] * 6]
    assert text(page).count("not run") == 6
    assert f"<title>Release {second} rejected · web-traffic · Slipway</title>" in page
    assert 'rel="next"' not in shop.get(f"/releases/{third}", HTML).text


def test_a_release_links_to_what_changed_in_the_code(make_shop: Callable[..., Shop]) -> None:
    made = make_shop(SLIPWAY_CLONE_URL="https://github.com/acme/web-traffic.git")
    with made.serving() as shop:
        old, new = (shop.publish(main_py(f"return {n}"), status=Status.REJECTED) for n in (1, 2))
        page = shop.get(f"/releases/{new}?beside={old}", HTML).text

    commits = (shop.release(old).commit, shop.release(new).commit)
    assert f'href="https://github.com/acme/web-traffic/compare/{"...".join(commits)}"' in page
    assert f'href="https://github.com/acme/web-traffic/commit/{commits[1]}"' in page
    assert 'href="https://github.com/acme/web-traffic/pull/2"' in page
    [beside] = re.findall('<h2 id="beside">.*<h2 id="logs-title">', page, re.DOTALL)
    assert f'compare/{"...".join(commits)}">What differs in the code</a>' in beside
    assert "git diff" not in page


@pytest.mark.parametrize("clone_url", ["https://git.acme.com/web-traffic.git", ""])
def test_a_command_shows_code_changes_of_other_servers_and_disks(
    make_shop: Callable[..., Shop], clone_url: str
) -> None:
    made = make_shop(**({"SLIPWAY_CLONE_URL": clone_url} if clone_url else {}))
    with made.serving() as shop:
        old, new = (shop.publish(main_py(f"return {n}"), status=Status.REJECTED) for n in (1, 2))
        page = shop.get(f"/releases/{new}?beside={old}", HTML).text

    command = f"git diff {shop.release(old).commit}..{shop.release(new).commit}"
    assert f'<pre class="copy" tabindex="0"><code>{command}</code></pre>' in page
    if not clone_url:
        assert f'<a href="#code">its code beside release {old}</a>' in page


def test_the_page_of_a_check_says_what_was_checked(shop: Shop) -> None:
    tip, head = "b" * 40, "c" * 40
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": "acme/web-traffic"}
        check = Release(
            **facts,
            commit=head,
            trigger=Trigger.CHECK,
            status=Status.CHECKED,
            pull_request=7,
            title=f"{EVIL}\u202e",
            author="\u2067eve",
            base=tip,
            tree="d" * 40,
            is_fork=True,
            started_at=datetime.now(UTC),
            verdict={"rules": [], "note": None, "compared_with": None, "changed_rules": ["SMAPE: gone"]},
        )
        session.add(check)
        session.flush()
        merge = Release(**facts, commit="e" * 40, status=Status.DEPLOYED, trained_by=check.id, position=2)
        session.add(merge)
        session.flush()
        path, merged = f"/releases/{check.id}", f"/releases/{merge.id}"

    words = text(shop.get(path, HTML).text)
    said = (
        "check of pull request #7 , which comes from another repository: commit cccccccc merged onto bbbbbbbb"
    )
    assert said in words and "as the files dddddddd . It cannot be deployed" in words
    assert "changes rules of [gate]: SMAPE: gone" in words
    assert "It is outdated" in words
    assert not {"\u202e", "\u2067"} & set(words) and "<script>" not in shop.get(path, HTML).text
    document = shop.get(path).json()
    assert document["check"] == {"base": tip, "tree": "d" * 40, "fork": True}
    assert not re.findall(r"<strong>deploy</strong>", shop.get(path, HTML).text)
    assert "was trained in check 1 , of the same files" in text(shop.get(merged, HTML).text)


def test_the_page_of_a_merge_groups_check_says_what_it_holds(shop: Shop) -> None:
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": "acme/web-traffic"}
        group = Release(
            **facts,
            commit="c" * 40,
            base="b" * 40,
            trigger=Trigger.CHECK,
            status=Status.CHECKED,
            pull_request=7,
            ref=f"gh-readonly-queue/main/pr-7-{'b' * 40}",
            started_at=datetime.now(UTC),
        )
        merge = Release(**facts, commit="e" * 40, status=Status.DEPLOYED, position=2)
        session.add_all([group, merge])
        session.flush()
        path = f"/releases/{group.id}"

    page = shop.get(path, HTML).text
    assert (
        "check of a group in the merge queue: commit cccccccc , which holds pull request #7 and those queued "
        "before it. It cannot be deployed: once GitHub has merged it, what was checked goes live."
    ) in text(page)
    assert "outdated" not in page and "Check again" not in page
    assert shop.get(path).json()["ref"] == f"gh-readonly-queue/main/pr-7-{'b' * 40}"


def test_checks_are_no_news_of_the_overview(shop: Shop) -> None:
    shop.publish(main_py())
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": "acme/web-traffic", "trigger": Trigger.CHECK}
        for number in range(9):
            reason = f"train() failed {number}"
            session.add(Release(**facts, commit="a" * 40, status=Status.REJECTED, reason=reason))
        session.add(Release(**facts, commit="b" * 40, status=Status.BUILDING, pull_request=7, title="Mine"))

    overview = text(shop.get("/", HTML).text)

    assert "train() failed" not in overview and "Mine" not in overview
    assert "Change 1" in overview and "building" not in overview
    assert "check of #7 Mine" in text(shop.get("/releases", HTML).text)
