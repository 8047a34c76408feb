"""The form that tries the live model, and a prediction by an address alone."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from common.problems import Problem
from ml.pages import query, series
from ml.pages.form import Field, fields, labelled, wrong
from ml.pages.render import page, wants_page
from ml.pages.series import before, chart, points, shares
from ml.serving import answers
from ml.serving.answers import Label
from ml.serving.gateway import Gateway, nothing_live
from ml.serving.live import Live, Place, Places
from ml.serving.protocol import PredictionJson
from ml.serving.rows import respond
from ml.serving.threads import aside

MAX_DRAWN_BYTES = 256 << 10  # of a prediction that is made into a page or a table


def routes(places: Places, gateway: Gateway) -> APIRouter:
    router = APIRouter(tags=["predictions"])

    @router.get("/predict", summary="A prediction by an address alone; for a person, the form")
    async def predict(request: Request) -> Response:
        return await answer(request, None)

    @router.get("/models/{name}/predict", summary="The same, of one of several models")
    async def predict_of(request: Request, name: str) -> Response:
        return await answer(request, name)

    @router.get("/predict.csv", include_in_schema=False)
    async def table_of_one(request: Request) -> Response:
        return await table(request, None)

    @router.get("/models/{name}/predict.csv", include_in_schema=False)
    async def table_of(request: Request, name: str) -> Response:
        return await table(request, name)

    async def table(request: Request, name: str | None) -> Response:
        """What the page has as a chart: the known series and the forecast."""
        live, pairs = tried(places.find(name), request)
        document, release = await ask(request, name, live, pairs)
        found = drawn(live, document["prediction"])
        if "points" not in found:
            raise Problem(406, "No series", "This prediction is no series of (time, number) rows.")
        text = series.table(found["known"], found["points"])
        return Response(text, media_type="text/csv", headers={"X-Slipway-Release": release})

    async def answer(request: Request, name: str | None) -> Response:
        if name is None and len(places.by_model) > 1 and wants_page(request):
            return page(request, "which.html", 200, models=list(map(named, places.by_model.values())))
        live, pairs = tried(places.find(name), request)
        if wants_page(request):
            return await form(request, name, live, pairs)
        prediction, label = await predicted(request, name, live, pairs)
        return respond(answers.labelled(prediction, label), label, [prediction], {"Vary": "Accept"})

    async def predicted(
        request: Request, name: str | None, live: Live, pairs: list[tuple[str, str]]
    ) -> tuple[PredictionJson, Label]:
        if not pairs:
            detail = "Give the features in the address (?num_days=7), or POST them as JSON."
            raise Problem(400, "No features", detail)
        body = msgspec.json.encode(query.features(pairs, live.schema))
        return await gateway.ask(name, body, {}, request.scope["request_id"])

    async def ask(
        request: Request, name: str | None, live: Live, pairs: list[tuple[str, str]]
    ) -> tuple[dict[str, Any], str]:
        prediction, label = await predicted(request, name, live, pairs)
        [value] = await aside(answers.values, [prediction], MAX_DRAWN_BYTES)
        document = {"prediction": value, "model": label.model, "release": label.release}
        return {**document, "commit": label.commit}, str(label.release)

    async def form(request: Request, name: str | None, live: Live, pairs: list[tuple[str, str]]) -> Response:
        """The form with what was typed; with something typed, the answer or what was wrong with it."""
        status, values, headers = 200, shown(live, name, pairs) | {"query": request.url.query}, {}
        if pairs:
            try:
                document, headers["X-Slipway-Release"] = await ask(request, name, live, pairs)
                values |= {"answer": document} | drawn(live, document["prediction"])
                values["shares"] = shares(document["prediction"])
                values["call"] = query.features(pairs, live.schema)
            except Problem as problem:
                status, values["problem"] = problem.status, problem.document()
                found = wrong(values["fields"], problem.detail) if status == 422 else None
                values["wrong"] = found and (found, labelled(values["fields"], found, problem.detail))
                headers = problem.headers
        response = page(request, "predict.html", status, **values)
        response.headers.update(headers)
        return response

    return router


def tried(place: Place, request: Request) -> tuple[Live, list[tuple[str, str]]]:
    """What is live, and the names and texts in the address."""
    if place.live is None:
        raise nothing_live()
    return place.live, [(key, text) for key, text in request.query_params.multi_items() if text != ""]


def named(place: Place) -> tuple[str, str, bool]:
    """A model's name, what people call it, and whether it can be tried."""
    info = (place.live.release.info if place.live else None) or {}
    return place.model.name, str(info.get("Name") or place.model.name), place.live is not None


def drawn(live: Live, prediction: Any) -> dict[str, Any]:
    """A series with the known one before it and its chart; a number beside the target's range in training."""
    found = points(prediction)
    if found is None:
        return {"target": live.known.get("target")}
    known = before(live.known.get("history"), found)
    return {"points": found, "known": known, "chart": chart(known, found)}


def shown(live: Live, name: str | None, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    info = live.release.info or {}
    asked: list[Field] = fields(live, pairs)
    return {
        "model": live.release.model,
        "address": name,
        "info": info,
        "release": live.release.id,
        "commit": live.release.commit,
        "fields": asked,
        "answer": None,
        "points": None,
        "known": (),
        "chart": None,
        "target": None,
        "shares": None,
        "wrong": None,
        "problem": None,
        "call": None,
    }
