"""Pages for people at the addresses that programs use: whole, safe, and saying what is going on."""

import json
import re
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import text as sql
from sqlalchemy import update

from db import appliance
from db.models import Release, Stage
from db.states import Status
from ml.builder.judging import trend as trends
from ml.builder.judging.verdict import Verdict
from ml.paths import HomeLayout
from ml.web.pages.forecast import parse_points, select_history
from ml.web.pages.render import link_calls
from tests.harness.faults import Clock
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py

HTML = "text/html,application/xhtml+xml"
SERIES = "return [['2026-01-%02dT00:00:00' % (n + 1), 10.5 + n] for n in range(features)]"
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
HOUSE = """
    from dataclasses import dataclass

    @dataclass
    class House:
        area: float
        kind: typing.Literal["flat", "house"]
        garden: bool
        street: str = ""
"""


def text(page: str) -> str:
    """What a page says, without its tags."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


@pytest.mark.parametrize(
    "path", ["/", "/predict", "/predict?num_days=7", "/releases", "/releases/1", "/releases/9", "/docs"]
)
def test_every_page_is_whole_and_asks_no_other_host_for_anything(shop: Shop, path: str) -> None:
    shop.publish(main_py(SERIES), kind="time-series")

    page = shop.get(path, HTML)

    assert page.status_code == (404 if path == "/releases/9" else 200)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.rstrip().endswith("</html>")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r'<(?!a )[^>]*(?:src|href|action)="(?:https?:)?//', page.text)
    assert " style=" not in page.text
    assert not re.findall(r"<script(?![^>]*(?:src=|application/json))", page.text)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert shop.client.get(shop.url + address).status_code == 200


DAYS = SERIES.replace("features)]", "int(features))] if type(features) is int else 1 / 0")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (main_py(DAYS), "time-series"),
        (main_py("return features.area", head=HOUSE, features="features: House"), "regression"),
        (main_py("return features"), "generic"),
    ],
    ids=["days", "typed", "unknown"],
)
def test_every_call_on_the_page_of_calls_works_as_printed(shop: Shop, source: str, kind: str) -> None:
    shop.publish(source, kind=kind)

    page = shop.get("/docs", HTML).text

    printed = re.findall(r"<code>(curl -X POST [^<]* -d [^<]*)</code>", page)
    assert len(printed) == 4
    for line in printed:
        *_, address, _, header, _, body = shlex.split(unescape(line))
        assert header == "Content-Type: application/json"
        answer = shop.client.post(address, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, (line, answer.text)
    assert "`" not in text(page)
    assert "Whether web-traffic would answer" in text(page)


def test_no_features_are_made_up_for_a_model_that_takes_any_text(shop: Shop) -> None:
    shop.publish(main_py("return int(features)", features="features: str"))

    assert "-d @features.json" in text(shop.get("/docs", HTML).text)


def test_what_a_model_says_of_itself_is_text_and_never_markup(shop: Shop) -> None:
    info = {"Name": EVIL, "Description": EVIL, "Evaluation metric": EVIL, EVIL: [EVIL, {"a": EVIL}]}
    release = shop.publish(
        main_py(f"raise ValueError({EVIL!r}) if features == 1 else None\nreturn {{{EVIL!r}: {EVIL!r}}}"),
        info=info,
        metrics={EVIL: 1.0},
        title=EVIL,
        author=EVIL,
    )
    shop.predict(1)
    with shop.sessions.begin() as session:
        session.add(
            Release(model=shop.model, repository="a/b", commit="c" * 40, status=Status.REJECTED, reason=EVIL)
        )

    paths = ["/", "/releases", f"/releases/{release}", f"/releases/{release + 1}"]
    paths += ["/predict?x=1", "/predict?x=2", f"/predict?x={EVIL}", f"/nowhere/{EVIL}"]
    for path in paths:
        page = shop.get(path, HTML).text
        assert "alert(" in page
        assert "<script>" not in page
        assert "<img src=x" not in page


def test_a_series_is_a_table_and_a_line(shop: Shop) -> None:
    shop.publish(main_py(SERIES), kind="time-series", info={"Name": "Visits", "Type": "Time series"})

    page = shop.get("/predict?num_days=7", HTML)

    assert page.headers["X-Slipway-Release"] == "1"
    assert page.text.count("<tr>") == 1 + 7
    assert "Thu 2026-01-01 10.5" in text(page.text)
    assert '"value": [10.5, 11.5' in page.text
    assert 'name="num_days" value="7"' in page.text
    assert len(shop.get("/predict?num_days=7").json()["prediction"]) == 7


@pytest.mark.parametrize(("days", "said"), [(31, None), (32, "32 rows: scroll, or take the CSV")])
def test_a_month_is_shown_at_once_and_more_are_counted(shop: Shop, days: int, said: str | None) -> None:
    days_of = "import datetime\nfirst = datetime.date(2026, 1, 1)\n"
    days_of += "return [[str(first + datetime.timedelta(n)), n] for n in range(features)]"
    shop.publish(main_py(days_of), kind="time-series")

    page = shop.get(f"/predict?num_days={days}", HTML).text

    assert ('class="scroll tall"' in page) == bool(said)
    assert (" rows: scroll" in text(page)) == bool(said)
    assert said is None or said in text(page)


def test_fields_say_what_they_mean_and_their_unit(shop: Shop) -> None:
    area = {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "unit": "m²",
        "description": EVIL,
        "title": "Living area",
    }
    schema = {"type": "object", "properties": {"area": area, "built": {"type": "integer", "minimum": 1800}}}
    more = f"def info(self): return {{'features': {schema!r}}}\n"
    more += "def examples(self): return [{'area': 21.5, 'built': 1984}, {'built': 1900}]"
    shop.publish(main_py("return features['built']", more=more))

    page = shop.get("/predict?built=1984", HTML).text

    assert "Living area in m²" in text(page)
    assert "<script>alert" in unescape(page)
    assert "<script>alert" not in page
    assert "Built at least 1800" in text(page)
    assert '<p class="result">1984</p>' in page
    assert re.findall('<a href="(.*?)#answer">(.*?)</a>', page) == [
        ("?area=21.5&amp;built=1984", "area: 21.5, built: 1984"),
        ("?built=1900", "built: 1900"),
    ]


def test_a_number_of_days_out_of_bounds_is_refused_by_its_field(shop: Shop) -> None:
    days = "features: typing.Annotated[int, {'title': 'Number of days', 'minimum': 1, 'maximum': 60}]"
    shop.publish(main_py(SERIES, features=days), kind="time-series")

    page = shop.get("/predict?num_days=100000000", HTML)

    assert page.status_code == 422
    beside = re.findall('<small id="e-1" class="wrong">(.*?)</small>', page.text)
    assert beside == ["Number of days has to be at most 60, not 100000000"]
    assert "Number of days 1 to 60" in text(page.text)
    assert re.findall('<a href="(.*?)#answer">', page.text) == ["?num_days=7", "?num_days=30"]
    assert '<article class="problem">' not in page.text


def test_the_form_shows_how_the_first_build_goes(shop: Shop) -> None:
    assert "as soon as a release is live" in text(shop.get("/predict", HTML).text)
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": "a/b", "commit": "a" * 40, "title": EVIL}
        session.add(building := Release(**facts, status=Status.BUILDING))
        session.flush()
        session.add(Stage(release_id=building.id, name="checkout"))

    page = shop.get("/predict", HTML)

    assert page.status_code == 503
    assert "<title>Predict · building: checkout · web-traffic · Slipway</title>" in page.text
    assert "checkout 0.0 s running" in re.sub(r"\d+\.\d s", "0.0 s", text(page.text))
    assert text(page.text).count("not begun") == 6
    assert "<script>alert" not in page.text
    assert shop.get("/predict").json()["title"] == "Nothing is live yet"


def test_words_for_programs_are_links_on_the_pages_of_errors(shop: Shop) -> None:
    page = shop.get("/releases/9", HTML).text

    assert 'There is no release 9; <a href="/releases">/releases</a> lists them.' in page
    assert "Nothing is at /nowhere." in text(shop.get("/nowhere", HTML).text)
    assert link_calls("GET //evil <b> GET /a/b. GET /c.d") == (
        'GET //evil &lt;b&gt; <a href="/a/b">/a/b</a>. <a href="/c">/c</a>.d'
    )


def test_an_error_beside_a_field_says_its_label(shop: Shop) -> None:
    schema = {"type": "object", "properties": {"area": {"type": "number", "title": "Area in m²"}}}
    shop.publish(main_py(more=f"def info(self): return {{'features': {schema!r}}}"))

    page = text(shop.get("/predict?area=big", HTML).text)

    assert "Area in m² has to be a value of type number, not 'big'" in page
    assert " area has" not in page


def test_a_forecast_is_drawn_after_the_known_series(shop: Shop) -> None:
    band = "return [['2026-01-%02d' % (n + 4), n, n - 1, n + 1] for n in range(features)]"
    known = {"history": [["2026-01-03", 30], ["2026-01-01", 10]]}
    shop.publish(main_py(band), kind="time-series", known=known)

    page = shop.get("/predict?num_days=2", HTML).text

    assert "2 known values from Thu 2026-01-01 to Sat 2026-01-03, then 2 predicted values" in page
    drawn = json.loads(re.findall(r'id="points">(.*?)</script>', page)[0])
    assert drawn["known"] == [10, 30, None, None]
    assert drawn["value"] == [None, None, 0, 1]
    assert (drawn["low"], drawn["high"]) == ([None, None, -1, 0], [None, None, 1, 2])
    assert "Thu 2026-01-01 10 Sat 2026-01-03 30" in text(page)
    assert 'href="/predict.csv?num_days=2"' in page
    rows = shop.get("/predict.csv?num_days=2").text.splitlines()
    assert rows[0] == "when,known,prediction,low,high"
    assert rows[1:3] == ["2026-01-01,10.0,,,", "2026-01-03,30.0,,,"]
    assert rows[3:] == ["2026-01-04,,0.0,-1.0,1.0", "2026-01-05,,1.0,0.0,2.0"]


def test_a_number_is_shown_beside_its_range_in_training(shop: Shop) -> None:
    known = {"target": {"column": "<price>", "min": 10, "median": 20, "max": 30}}
    shop.publish(main_py("return features * 2"), kind="regression", known=known)

    inside, above = (shop.get(f"/predict?x={x}", HTML).text for x in (12, 16))

    assert "<price> went from 10 to 30 in the training data, half of them below 20." in text(inside)
    assert "Above all that it was trained on" not in inside
    assert "Above all that it was trained on: <price>" in text(above)
    assert "<price>" not in above
    assert shop.get("/predict.csv?x=1").status_code == 406


def test_classes_are_shown_with_their_probabilities(shop: Shop) -> None:
    shop.publish(main_py("return {'cat': 0.25, 'dog': 0.75}"), kind="classification")

    page = shop.get("/predict?x=1", HTML).text

    assert '<p class="result">dog</p>' in page
    assert "dog 75.0 % cat 25.0 %" in text(page)


LARGE = {
    "rows": ("[['2026-01-01T00:00:%02d' % (n % 60), n + 0.25] for n in range(25_000)]", "24,600 are in the"),
    "depth": ("functools.reduce(lambda inner, _: [inner], range(90), [1] * 300_000)", "rest is left out"),
    "classes": ("{f'{n:05}': 1 / 50_000 for n in range(50_000)}", "49,600 less likely ones"),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_prediction_makes_no_large_page(shop: Shop, kind: str) -> None:
    prediction, said = LARGE[kind]
    shop.publish(main_py(f"return {prediction}", head="import functools"))

    page = shop.get("/predict?x=1", HTML)

    assert page.status_code == 200
    assert said in text(page.text)
    assert len(page.text) < 300_000


def test_a_prediction_over_a_mebibyte_is_no_page(shop: Shop) -> None:
    shop.publish(main_py("return [1] * 600_000"))

    page = shop.get("/predict?x=1", HTML)

    assert page.status_code == 413
    assert "more than 1,048,576 bytes as JSON" in text(page.text)
    assert len(shop.get("/predict?x=1", "application/json").json()["prediction"]) == 600_000


def test_the_form_comes_from_the_schema_and_keeps_what_was_typed(shop: Shop) -> None:
    shop.publish(main_py("return features.area * 2", head=HOUSE, features="features: House"))

    empty = shop.get("/predict", HTML).text
    answered = shop.get("/predict?area=21&kind=house&garden=true&street=Elm", HTML).text
    wrong = shop.get("/predict?area=big&kind=house&garden=true", HTML)

    assert 'name="area"' in empty
    assert "<option selected>flat" in empty
    assert 'name="street"' in empty
    assert '<p class="result">42</p>' in answered
    assert 'value="21"' in answered
    assert "<option selected>house" in answered
    assert wrong.status_code == 422
    assert "Area has to be a value of type number, not 'big'" in text(wrong.text)
    assert 'value="big"' in wrong.text


def test_a_list_without_a_script_is_json_and_says_its_rows(shop: Shop) -> None:
    basket = """
        from dataclasses import dataclass

        @dataclass
        class Item:
            name: str
            price: float
            rare: bool = False

        @dataclass
        class Basket:
            items: list[Item]
            scores: list[int]
            grid: list[list[int]]
    """
    shop.publish(main_py("return sum(features.scores)", head=basket, features="features: Basket"))

    empty = shop.get("/predict", HTML).text
    asked = {"items": '[{"name": "a", "price": 1}]', "scores": "[1, 2]", "grid": "[[1]]"}
    answered = shop.get("/predict", HTML, params=asked).text

    shapes = [json.loads(shape) for shape in re.findall(r"data-rows='(.*?)'", empty)]
    assert [[column["name"] for column in shape["columns"]] for shape in shapes] == [
        ["name", "price", "rare"],
        [None],
    ]
    assert empty.count("<textarea") == 3
    assert '<p class="result">3</p>' in answered
    assert ">[1, 2]</textarea>" in answered


def test_a_model_that_fails_says_so_on_the_page(shop: Shop) -> None:
    shop.publish(main_py("raise ValueError('no such day')"))

    page = shop.get("/predict?x=1", HTML)

    assert page.status_code == 500
    assert "predict() raised ValueError: no such day" in text(page.text)
    assert "Traceback" not in page.text


def test_a_merge_into_another_branch_is_told(shop: Shop) -> None:
    assert "is followed" not in text(shop.get("/", HTML).text)
    with shop.sessions.begin() as session:
        session.execute(
            sql("""
                INSERT INTO vcs.pull_requests
                    (id, _sdc_repository, number, state, base_ref, merge_commit_sha, merged_at)
                VALUES (1, 'acme/web-traffic', 1, 'closed', 'develop', 'abc', now())
            """)
        )

    said = text(shop.get("/", HTML).text)
    assert "Pull requests were merged into develop , and main is followed: SLIPWAY_BRANCH" in said
    assert "Merge a pull request into the branch main ." in said
    told = shop.get("/").json()["detail"]
    assert told.startswith("No pull request has been merged into main yet")


def test_an_empty_appliance_says_what_to_do(shop: Shop) -> None:
    page = shop.get("/", HTML)

    assert page.status_code == 503
    assert "Waiting for the first merge" in text(page.text)
    assert "curl -X POST http://127.0.0.1:8080/checkout" in text(page.text)
    assert "There is no release yet" in text(shop.get("/releases", HTML).text)
    assert shop.get("/predict", HTML).status_code == 503


def test_an_overview_says_that_github_is_not_heard(shop: Shop) -> None:
    trouble = "GitHub has no such repository. SLIPWAY_REPOSITORY is misspelled"
    with shop.sessions.begin() as session:
        appliance.set_mode(session, "repository")
        appliance.set_problem(session, "github", trouble)

    assert f"Not all merges are seen: {trouble}" in text(shop.get("/", HTML).text)
    assert trouble in shop.get("/").json()["detail"]
    shop.publish(main_py())
    assert f"Not all merges are seen: {trouble}" in text(shop.get("/", HTML).text)

    with shop.sessions.begin() as session:
        appliance.set_problem(session, "github", None)
    assert "Not all merges are seen" not in text(shop.get("/", HTML).text)


def test_an_overview_says_once_what_github_does_not_show(shop: Shop) -> None:
    trouble = "GITHUB_TOKEN may not write GitHub deployments in acme/web-traffic"
    with shop.sessions.begin() as session:
        appliance.set_mode(session, "repository")
        appliance.set_problem(session, "outbox", trouble)
    shop.publish(main_py())

    assert text(shop.get("/", HTML).text).count(f"GitHub does not show everything: {trouble}") == 1


def test_builds_and_rejections_are_on_the_overview(shop: Shop) -> None:
    shop.publish(main_py())
    with shop.sessions.begin() as session:
        facts = {"model": shop.model, "repository": "a/b"}
        rejected = Release(
            **facts,
            commit="b" * 40,
            status=Status.REJECTED,
            pull_request=2,
            reason="train() raised KeyError",
        )
        session.add(rejected)
        session.flush()
    said = text(shop.get("/", HTML).text)
    assert "#2 (release 2) was rejected: train() raised KeyError." in said
    assert said.count("train() raised KeyError") == 1

    with shop.sessions.begin() as session:
        building = Release(**facts, commit="d" * 40, status=Status.BUILDING, pull_request=3)
        session.add(building)
        session.flush()
        session.add(Stage(release_id=building.id, name="train"))
    page = shop.get("/", HTML).text
    assert "Building #3 (release 3): train for" in text(page)
    assert text(page).count("train() raised KeyError") == 1
    assert 'http-equiv="refresh"' in page


def test_a_change_is_told_against_what_was_live_just_before(shop: Shop) -> None:
    first = shop.publish(main_py(), metrics={"SMAPE": 0.1})
    assert "since" not in text(shop.get("/", HTML).text)
    second = shop.publish(main_py(), metrics={"SMAPE": 0.4})
    assert f"+300.0% since {first}" in text(shop.get("/", HTML).text)
    third = shop.publish(main_py(), metrics={"SMAPE": 0.05})
    for release in (first, third):
        shop.want(release)
        wait_until(lambda wanted=release: shop.served() == wanted, 60, "it is live again")

    said = text(shop.get("/", HTML).text)

    assert f"-50.0% since {first}" in said
    assert f"since {second}" not in said


def test_static_files_are_kept_by_browsers_until_they_change(shop: Shop) -> None:
    address = re.findall(r'href="(/static/slipway.css[^"]*)"', shop.get("/docs", HTML).text)[0]

    assert "immutable" in shop.client.get(shop.url + address).headers["cache-control"]
    assert shop.get("/static/../../../etc/passwd").status_code == 404


def test_what_the_gate_said_is_on_the_page_of_the_release(shop: Shop) -> None:
    rules = [
        {
            "metric": "SMAPE",
            "value": 0.3,
            "live": 0.2,
            "change": 0.5,
            "rule": "may worsen by 5%",
            "passed": False,
        },
        {"metric": "MAE", "value": 7, "live": None, "change": None, "rule": "at most 9", "passed": True},
    ]
    verdict = {"rules": rules, "note": "an older test set", "compared_with": 1, "passed": False}
    release = shop.publish(main_py(), verdict=verdict)

    page = text(shop.get(f"/releases/{release}", HTML).text)

    assert "SMAPE 0.3 0.2 +50.0% may worsen by 5% not passed" in page
    assert "MAE 7 – – at most 9 passed" in page
    assert "an older test set" in page


def test_the_trend_and_what_could_not_be_compared_are_shown(shop: Shop) -> None:
    first = shop.publish(main_py())
    trend = trends.Trend("SMAPE", 10, first=0.2, first_release=first, best=0.1, best_release=first)
    of_one = trends.Trend("MAE", 1, first=7.0, first_release=first, best=7.0, best_release=first)
    verdict = Verdict(
        (), None, None, ("release 1, which it is held against, never gave MAE",), (trend, of_one)
    )
    release = shop.publish(main_py(), verdict=verdict.to_document())

    page = text(shop.get(f"/releases/{release}", HTML).text)

    assert "Not compared: release 1, which it is held against, never gave MAE." in page
    assert "SMAPE over the last 10 releases that were live: 0.2" in page
    assert "MAE over" not in page


def test_a_release_is_held_against_any_other(shop: Shop) -> None:
    old = shop.publish(main_py(), data={"test": "aa"})
    new = shop.publish(main_py(), data={"test": "aa"}, metrics={"SMAPE": 0.2})
    with shop.sessions.begin() as session:
        for number, lock in ((old, "numpy==1.26.0 \\\n    --hash=sha256:aa\n"), (new, "numpy==2.0.0\n")):
            session.execute(update(Release).where(Release.id == number).values(lock=lock))
    (HomeLayout(shop.settings.home).source_path(old) / "slipway.toml").symlink_to("/etc/hostname")
    (HomeLayout(shop.settings.home).source_path(new) / "slipway.toml").write_text("[model]\n")

    page = text(shop.get(f"/releases/{new}?beside={old}", HTML).text)

    assert "SMAPE 0.2 0.25 -20.0%" in page
    assert "-numpy==1.26.0 +numpy==2.0.0" in page
    assert "@@ -0,0 +1 @@ +[model]" in page
    assert "Nothing differs in the data." in page
    assert "SMAPE 0.25 0.2 +25.0%" in text(shop.get(f"/releases/{old}", HTML).text)  # against live


def test_points_of_a_day_are_named_by_their_time() -> None:
    hourly = parse_points([["2026-01-01T00:00:00", 1], ["2026-01-01T01:00:00+00:00", 2.5]])
    daily = parse_points([["2026-01-01", 1]])

    assert hourly is not None
    assert daily is not None
    assert [point.label for point in hourly] == ["2026-01-01 00:00:00", "2026-01-01 01:00:00+00:00"]
    assert [point.label for point in daily] == ["Thu 2026-01-01"]


def test_a_forecast_stands_out_of_the_known_values_drawn() -> None:
    days = [[f"2026-{month:02}-{day:02}", 1] for month in range(1, 13) for day in range(1, 29)]

    assert len(select_history(days, parse_points(days[:1]) or [])) == 60
    assert len(select_history(days, parse_points(days[:50]) or [])) == 150
    assert (
        select_history(None, parse_points(days) or [])
        == select_history("nonsense", parse_points(days) or [])
        == []
    )


def test_a_frame_of_prophet_is_a_series() -> None:
    row = {"ds": "2026-01-01T00:00:00", "trend": 1, "yhat": 7.5, "yhat_lower": 7, "yhat_upper": 8}

    found = parse_points([row, {**row, "ds": "2026-01-02T00:00:00"}])

    assert found is not None
    assert [(point.when[:10], point.value, point.low, point.high) for point in found] == [
        ("2026-01-01", 7.5, 7, 8),
        ("2026-01-02", 7.5, 7, 8),
    ]
    assert parse_points([{"ds": "2026-01-01", "yhat": 1}]) is not None


@pytest.mark.parametrize(
    "prediction",
    [None, 7, "text", [], [1, 2], {"a": 1}, [["2026-01-01", True]], [["tomorrow", 1]], [["a", 1, 2]]],
)
def test_anything_else_is_no_series(prediction: object) -> None:
    assert parse_points(prediction) is None


@pytest.mark.parametrize(("path", "status"), [("/releases/abc", 422), (f"/releases/{10**12}", 404)])
def test_errors_are_pages_for_people_and_documents_for_programs(shop: Shop, path: str, status: int) -> None:
    page, document = shop.get(path, HTML), shop.get(path)

    assert (page.status_code, document.status_code) == (status, status)
    assert "To the overview" in text(page.text)
    assert document.headers["content-type"] == "application/problem+json"


def test_a_release_that_is_no_number_is_said_to_be_none(shop: Shop) -> None:
    answer = shop.get("/releases/abc").json()

    assert answer["title"] == "A release is a number"
    assert "no release 'abc'" in answer["detail"]
    assert "path.number" not in shop.get("/releases/abc/logs", HTML).text


def test_a_mistake_of_ours_is_a_page_that_says_nothing_of_it(shop: Shop) -> None:
    with shop.sessions.begin() as session:
        session.execute(sql("ALTER TABLE releases RENAME COLUMN title TO secret"))

    page = shop.get("/releases", HTML)

    assert page.status_code == 500
    assert "This is a bug of Slipway, not of your request." in text(page.text)
    assert "secret" not in page.text


def test_what_a_release_is_held_against_may_be_any_text(shop: Shop) -> None:
    release = shop.publish(main_py())

    for beside in ("9" * 5000, "9" * 18, "-1", "٣", "²", "x"):
        assert shop.get(f"/releases/{release}?beside={beside}", HTML).status_code in (200, 404)


def test_the_overview_counts_requests_that_failed(shop: Shop) -> None:
    assert shop.get("/predict", HTML).status_code == 503  # somebody who waits for the form asks for nothing
    shop.publish(main_py("return 1 / features"))
    shop.get("/predict", HTML)
    assert "There were no requests" in text(shop.get("/", HTML).text)
    for features in (1, 0, 2, 0):
        shop.predict(features)
    shop.client.post(shop.url + "/predict", content=b"no JSON")  # is the client's fault

    assert '<strong class="wrong">2 failed</strong>' in shop.get("/", HTML).text


def test_the_overview_says_of_what_no_prediction_was_tried(shop: Shop) -> None:
    untried = "before it went live, as it does not know its features"
    shop.publish(main_py("return 1 / 0"), kind="regression")
    assert untried in text(shop.get("/", HTML).text)

    shop.publish(main_py("return 1", more="def examples(self): return [1]"), kind="regression")
    assert untried not in text(shop.get("/", HTML).text)


def test_ages_are_of_the_clock_that_wrote_the_times(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "time")
    clock.set(3600)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    shop = make_shop()
    with shop.process():
        release = shop.publish(main_py("return 1"))
        with shop.sessions.begin() as session:
            session.add(Release(model=shop.model, repository="a/b", commit="c" * 40, status=Status.BUILDING))
            session.flush()
            session.add(Stage(release_id=release + 1, name="train"))

        for path in ("/", "/releases", f"/releases/{release}", f"/releases/{release + 1}"):
            page = text(shop.get(path, HTML).text)
            assert re.search("just now|[0-9]+ seconds ago", page), path
            assert not re.search("(minutes?|hours?) ago|[0-9]+ min", page), path
