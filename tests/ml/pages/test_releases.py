"""The overview and the pages of releases: every word true, every value readable, who decided and why."""

import re

from db import deployments
from db.models import Cause, Release, Status
from ml.pages.standing import way
from tests.ml.pages.test_pages import EVIL, HTML, text
from tests.ml.serving.support import Shop, main_py


def test_a_schema_stays_off_the_page_and_other_nested_values_are_cut(shop: Shop) -> None:
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


def test_who_decided_for_a_release_and_how_it_ended_is_on_its_page(shop: Shop) -> None:
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


def test_a_release_by_hand_says_who_asked_and_keeps_the_title_of_its_merge(shop: Shop) -> None:
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


def test_the_live_release_is_held_against_what_was_live_before(shop: Shop) -> None:
    shop.publish(main_py())
    shop.publish(main_py(), status=Status.REJECTED)
    live = shop.publish(main_py(), metrics={"SMAPE": 0.2})

    assert "SMAPE 0.2 0.25 -20.0%" in text(shop.get(f"/releases/{live}", HTML).text)


def test_the_live_release_is_the_point_of_a_curve_that_stands_out_and_small_changes_are_small() -> None:
    statuses = (Status.DEPLOYED, Status.DEPLOYED, Status.REJECTED, Status.PASSED)
    scored = [
        Release(id=number, status=status, metrics={"SMAPE": 0.5 + number / 1e5})
        for number, status in enumerate(statuses, 1)
    ]

    drawn = way("SMAPE", scored, live=1)

    assert [dot.state for dot in drawn.dots] == ["live", "served", "not", "waits"]
    assert max(dot.y for dot in drawn.dots) - min(dot.y for dot in drawn.dots) < 1
    assert drawn.line.count(",") == 2


def test_what_the_gate_judges_stands_first_wherever_metrics_are_shown(shop: Shop) -> None:
    metrics = {"A": 1.0, "B": 2.0, "SMAPE": 3.0}
    rule = {"metric": "SMAPE", "value": 3, "live": None, "change": None, "rule": "at most 9", "passed": True}
    gate = {"rules": [rule], "note": None, "compared_with": None, "passed": True}
    for _ in range(2):
        release = shop.publish(main_py(), metrics=metrics, verdict=gate, info={"Evaluation metric": "B"})

    for path in ("/", "/releases", f"/releases/{release}"):
        page = text(shop.get(path, HTML).text).split("What it is")[0]
        assert re.search(r"SMAPE 3 .*B 2 ", page), path
    assert list(shop.get("/").json()["metrics"]) == ["SMAPE", "B", "A"]
