"""The OpenAPI document of what is live, and a page of its calls."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from ml.pages.render import page
from ml.serving.live import Places

ANSWER = {
    "type": "object",
    "required": ["prediction", "model", "release", "commit"],
    "properties": {
        "prediction": {},
        "model": {"type": "string"},
        "release": {"type": "integer"},
        "commit": {"type": "string"},
    },
}
PROBLEM = {"application/problem+json": {"schema": {"type": "object", "title": "Problem (RFC 9457)"}}}
PROBLEMS = {
    "400": "The body is not JSON",
    "413": "The body is longer than 1 MiB",
    "422": "The features do not fit the model",
    "500": "The model failed",
    "503": "Nothing is live yet, or too busy",
    "504": "The model is too slow",
}


def install(app: FastAPI, places: Places) -> None:
    """The hot path is no route of FastAPI's, so its part of the document is written here."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None  # it changes with what is live
        document = generated()
        one = len(places.by_model) == 1
        for name, place in places.by_model.items():
            live = place.live
            schema, example = (live.schema, live.example) if live else (None, None)
            path = "/predict" if one else f"/models/{name}/predict"
            document["paths"].setdefault(path, {})["post"] = operation(name, schema, example)
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        calls = [
            {"method": method.upper(), "path": path, **operation}
            for path, methods in openapi()["paths"].items()
            for method, operation in methods.items()
        ]
        return page(request, "docs.html", 200, sections=sections(calls))


def sections(calls: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What most come here for first, what changes something last."""
    predictions = [call for call in calls if "predictions" in call.get("tags", ())]
    changes = [call for call in calls if call["method"] != "GET" and call not in predictions]
    others = [call for call in calls if call not in predictions and call not in changes]
    predictions.sort(key=lambda call: call["method"] == "GET")
    return [("Predictions", predictions), ("What is known", others), ("For operators", changes)]


def operation(model: str, schema: dict[str, Any] | None, example: tuple[Any] | None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {k: v for k, v in (schema or {}).items() if k != "$defs"}}
    if schema and "$defs" in schema:
        content["schema"] = {}  # its references are its own: the V2 metadata has the whole
    if example:
        content["example"] = example[0]
    return {
        "tags": ["predictions"],
        "summary": f"A prediction of {model}",
        "description": "The body is the features, as JSON, and nothing around them.",
        "operationId": f"predict_{model}",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {"description": "The prediction", "content": {"application/json": {"schema": ANSWER}}},
            **{status: {"description": text, "content": PROBLEM} for status, text in PROBLEMS.items()},
        },
    }
