"""The OpenAPI document of what is live, and a page of its calls."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from ml.pages import operations
from ml.pages.render import page
from ml.serving.live import Place, Places


def install(app: FastAPI, places: Places) -> None:
    """The hot path is no route of FastAPI's, so its part of the document is written here."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None  # it changes with what is live
        document = generated()
        alone = len(places.by_model) == 1
        for place in places.by_model.values():
            add(document, place, alone=alone)
        document["paths"].update(operations.SERVER)
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/models/{name}/openapi.json", include_in_schema=False)
    async def of_model(name: str) -> dict[str, Any]:
        """The calls of one model, and nothing else."""
        place = places.find(name)
        title = {"title": name, "version": str(place.live.release.id) if place.live else "0"}
        document: dict[str, Any] = {"openapi": "3.1.0", "info": title, "paths": {}}
        add(document, place, alone=len(places.by_model) == 1)
        return document

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        calls = [
            {"method": method.upper(), "path": path, **operation}
            for path, methods in openapi()["paths"].items()
            for method, operation in methods.items()
        ]
        return page(request, "docs.html", 200, sections=sections(calls))


def add(document: dict[str, Any], place: Place, *, alone: bool) -> None:
    """What a model brings, into a document of other calls."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(operations.SHARED)
    schemas[f"{place.model.name}.features"] = operations.features(place)
    for path, methods in operations.paths(place, alone=alone).items():
        document["paths"].setdefault(path, {}).update(methods)


def sections(calls: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What most come here for first, what changes something last."""
    predictions = [call for call in calls if "predictions" in call.get("tags", ())]
    changes = [call for call in calls if call["method"] != "GET" and call not in predictions]
    others = [call for call in calls if call not in predictions and call not in changes]
    predictions.sort(key=lambda call: call["method"] == "GET")
    return [("Predictions", predictions), ("What is known", others), ("For operators", changes)]
