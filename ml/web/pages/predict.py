"""The form that tries the live model, and a prediction by URL alone."""

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from common.system.threads import run_in_thread
from common.web.negotiation import wants_page
from ml.model_host.feature_kind import resolve_schema
from ml.serving.predict.batch import run_while_connected
from ml.serving.predict.batch_response import build_response
from ml.serving.predict.gateway import Answered, Gateway, nothing_live_problem
from ml.serving.registry import LiveRelease, LoadedRelease, ModelRegistry, ServedModel
from ml.serving.workers import responses
from ml.serving.workers.responses import Label
from ml.serving.workers.wire import PredictionJson
from ml.web.pages import forecast, query
from ml.web.pages.forecast import build_chart, parse_points, parse_probabilities, select_history
from ml.web.pages.form_fields import FormField, build_fields, find_examples, match_errors
from ml.web.pages.releases import find_building
from ml.web.pages.render import render_page


def create_router(registry: ModelRegistry, gateway: Gateway, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["predictions"])
    drawing = asyncio.Lock()  # many threads at once would leave the event loop little of Python

    @router.get("/predict", summary="A prediction by URL alone; for a browser, the form")
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
        """Return the data of the page's chart as CSV: the history and the forecast."""
        live, pairs = parse_query(registry.find(name), request)
        answered = await predicted(request, name, live, pairs, "url")
        async with drawing:
            text = await run_in_thread(to_csv, live, answered.prediction)
        return Response(text, media_type="text/csv", headers=name_answer(answered))

    async def answer(request: Request, name: str | None) -> Response:
        if name is None and len(registry.by_model) > 1 and wants_page(request):
            return render_page(
                request, "which.html", 200, models=list(map(describe_model, registry.by_model.values()))
            )
        served = registry.find(name)
        if served.live is None and wants_page(request):
            building = await run_in_thread(find_building, sessions, served.model.name)
            return render_page(request, "waiting.html", 503, model=served.model.name, **building)
        live, pairs = parse_query(served, request)
        if wants_page(request):
            return await form(request, name, live, pairs)
        prediction, label, call = await predicted(request, name, live, pairs, "url")
        pieces = responses.build_success_body(prediction, label)
        return build_response(pieces, label, [prediction], call, {"Vary": "Accept"})

    async def predicted(
        request: Request, name: str | None, live: LiveRelease, pairs: list[tuple[str, str]], route: str
    ) -> Answered:
        if not pairs:
            detail = "Give the features in the address (?num_days=7), or POST them as JSON."
            raise ProblemError(400, "No features", detail)
        body = msgspec.json.encode(query.parse_features(pairs, live.schema))
        predicting = gateway.predict(name, body, {}, request.scope["request_id"], route=route)
        return await run_while_connected(request.receive, predicting)

    async def form(
        request: Request, name: str | None, live: LiveRelease, pairs: list[tuple[str, str]]
    ) -> Response:
        """Return the form with the typed values, and with any of them, the answer or the errors.

        A page that polls for it is loaded as a whole: it has other scripts.
        """
        if request.headers.get("HX-Request"):
            return Response(headers={"HX-Refresh": "true"})
        prefix = f"/models/{name}" if name else ""
        values = build_template_values(live, prefix, pairs) | {"query": request.url.query}
        try:
            if pairs:
                answered = await predicted(request, name, live, pairs, "form")
                values["call"] = query.parse_features(pairs, live.schema)
                async with drawing:
                    return await run_in_thread(render_answer, request, values, live, answered)
        except ProblemError as problem:
            return render_problem(request, "predict.html", values, problem)
        return render_page(request, "predict.html", 200, **values)

    return router


def parse_query(served: ServedModel, request: Request) -> tuple[LiveRelease, list[tuple[str, str]]]:
    """Return the live release, and the names and texts of the query string."""
    if served.live is None:
        raise nothing_live_problem()
    return served.live, [(key, text) for key, text in request.query_params.multi_items() if text != ""]


def render_problem(
    request: Request, template: str, values: dict[str, Any], problem: ProblemError
) -> Response:
    """Return the form with what is wrong: below the fields that it is about, else above them."""
    wrong, others = match_errors(values["fields"], problem.extra.get("errors", []))
    shown = None if wrong and not others else problem.to_document()
    response = render_page(request, template, problem.status, **values | {"wrong": wrong, "problem": shown})
    response.headers.update(problem.headers)
    return response


def describe_model(served: ServedModel) -> tuple[str, str, bool]:
    """Return a model's name, its display name, and True when it can be tried."""
    info = (served.live.release.info if served.live else None) or {}
    return served.model.name, str(info.get("Name") or served.model.name), served.live is not None


def name_answer(answered: Answered) -> dict[str, str]:
    """Return the headers that name the release and the call of an answer."""
    named = {"X-Slipway-Release": str(answered.label.release)}
    if answered.call is not None:
        named["X-Slipway-Prediction"] = answered.call.id.text.decode()
    return named


def render_answer(
    request: Request, values: dict[str, Any], live: LiveRelease, answered: Answered
) -> Response:
    """Return the form with the answer; slow for a large prediction, a `ProblemError` for one too large."""
    values = values | build_answer_values(live, answered.prediction, answered.label)
    response = render_page(request, "predict.html", 200, **values)
    response.headers.update(name_answer(answered))
    return response


def build_answer_values(loaded: LoadedRelease, prediction: PredictionJson, label: Label) -> dict[str, Any]:
    """Return what the template shows of an answer; slow, and a `ProblemError`, as `render_answer`."""
    [value] = responses.decode_predictions([prediction])
    answer = {"prediction": value, "model": label.model, "release": label.release, "commit": label.commit}
    return build_chart_data(loaded, value) | {"answer": answer, "shares": parse_probabilities(value)}


def to_csv(live: LiveRelease, prediction: PredictionJson) -> str:
    """Return the series as CSV; slow for a large prediction. Raises `ProblemError` when it is no series."""
    [value] = responses.decode_predictions([prediction])
    found = build_chart_data(live, value)
    if "points" not in found:
        raise ProblemError(406, "No series", "This prediction is no series of (time, number) rows.")
    return forecast.to_csv(found["known"], found["points"])


def build_chart_data(loaded: LoadedRelease, prediction: Any) -> dict[str, Any]:
    """Return a series with its history and chart; for anything else, the target's range in training."""
    found = parse_points(prediction)
    if found is None:
        return {"target": loaded.reference_data.get("target")}
    history = select_history(loaded.reference_data.get("history"), found)
    return {"points": found, "known": history, "chart": build_chart(history, found)}


def build_template_values(loaded: LoadedRelease, prefix: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what the form's template needs; calls of the model begin with `prefix`."""
    info = loaded.release.info or {}
    fields: list[FormField] = build_fields(loaded, pairs)
    properties = resolve_schema(loaded.schema or {}, loaded.schema or {}).get("properties", {})
    return {
        "model": loaded.release.model,
        "prefix": prefix,
        "info": info,
        "release": loaded.release.id,
        "commit": loaded.release.commit,
        "fields": fields,
        "examples": find_examples(loaded, fields),
        "target_column": loaded.target_column,
        "columns": [one.name for one in fields] if len(fields) > 1 or fields[0].name in properties else [],
        "kind": loaded.release.kind,
        "answer": None,
        "points": None,
        "known": (),
        "chart": None,
        "target": None,
        "shares": None,
        "wrong": {},
        "problem": None,
        "call": None,
    }
