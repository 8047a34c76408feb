"""The form that tries the live model, and a prediction by an address alone."""

import asyncio
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


def routes(places: Places, gateway: Gateway) -> APIRouter:
    router = APIRouter(tags=["predictions"])
    drawing = asyncio.Lock()  # many threads at once would leave the event loop little of Python

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
        prediction, label = await predicted(request, name, live, pairs)
        async with drawing:
            text = await aside(csv, live, prediction)
        return Response(text, media_type="text/csv", headers={"X-Slipway-Release": str(label.release)})

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

    async def form(request: Request, name: str | None, live: Live, pairs: list[tuple[str, str]]) -> Response:
        """The form with what was typed; with something typed, the answer or what was wrong with it."""
        values = shown(live, name, pairs) | {"query": request.url.query}
        try:
            if pairs:
                prediction, label = await predicted(request, name, live, pairs)
                values["call"] = query.features(pairs, live.schema)
                async with drawing:
                    return await aside(filled, request, values, live, prediction, label)
        except Problem as problem:
            values["problem"] = problem.document()
            found = wrong(values["fields"], problem.detail) if problem.status == 422 else None
            values["wrong"] = found and (found, labelled(values["fields"], found, problem.detail))
            response = page(request, "predict.html", problem.status, **values)
            response.headers.update(problem.headers)
            return response
        return page(request, "predict.html", 200, **values)

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


def filled(
    request: Request, values: dict[str, Any], live: Live, prediction: PredictionJson, label: Label
) -> Response:
    """The form with the answer; slow where the prediction is large. Raises `Problem` when it is too large."""
    [value] = answers.values([prediction])
    answer = {"prediction": value, "model": label.model, "release": label.release, "commit": label.commit}
    values = values | drawn(live, value) | {"answer": answer, "shares": shares(value)}
    response = page(request, "predict.html", 200, **values)
    response.headers["X-Slipway-Release"] = str(label.release)
    return response


def csv(live: Live, prediction: PredictionJson) -> str:
    """The series as a table; slow where the prediction is large. Raises `Problem` when it is none."""
    [value] = answers.values([prediction])
    found = drawn(live, value)
    if "points" not in found:
        raise Problem(406, "No series", "This prediction is no series of (time, number) rows.")
    return series.table(found["known"], found["points"])


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
