"""The OpenAPI document of the live releases, and a page of its calls."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from common.web.proxies import get_prefix
from ml.serving.registry import ModelRegistry, ServedModel
from ml.web.api import openapi
from ml.web.pages.render import render_page


def install(app: FastAPI, registry: ModelRegistry) -> None:
    """Add the document and its page; the hot path is not a FastAPI route, so its part is added here."""
    generated = app.openapi

    def describe() -> dict[str, Any]:
        app.openapi_schema = None  # it changes with what is live
        document = generated()
        alone = len(registry.by_model) == 1
        for served in registry.by_model.values():
            add_operations(document, served, is_only_model=alone)
        document["paths"].update(openapi.SERVER_PATHS)
        return document

    app.openapi = describe  # type: ignore[method-assign]

    @app.get("/models/{name}/openapi.json", include_in_schema=False)
    async def of_model(request: Request, name: str) -> dict[str, Any]:
        """Return the calls of one model alone."""
        served = registry.find(name)
        title = {"title": name, "version": str(served.live.release.id) if served.live else "0"}
        document: dict[str, Any] = {"openapi": "3.1.0", "info": title, "paths": {}}
        if prefix := get_prefix(request):
            document["servers"] = [{"url": prefix}]
        add_operations(document, served, is_only_model=len(registry.by_model) == 1)
        return document

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        calls = [
            {"method": method.upper(), "path": path, **operation}
            for path, methods in describe()["paths"].items()
            for method, operation in methods.items()
        ]
        return render_page(request, "docs.html", 200, sections=group_calls(calls))


def add_operations(document: dict[str, Any], served: ServedModel, *, is_only_model: bool) -> None:
    """Add a model's schemas and calls to a document."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(openapi.SHARED_SCHEMAS)
    schemas[f"{served.model.name}.features"] = openapi.build_feature_schema(served)
    for path, methods in openapi.build_paths(served, is_only_model=is_only_model).items():
        document["paths"].setdefault(path, {}).update(methods)


def group_calls(calls: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the calls by section: predictions first, calls that change something last."""
    predictions = [call for call in calls if "predictions" in call.get("tags", ())]
    changes = [call for call in calls if call["method"] != "GET" and call not in predictions]
    others = [call for call in calls if call not in predictions and call not in changes]
    predictions.sort(key=lambda call: call["method"] == "GET")
    return [("Predictions", predictions), ("What is known", others), ("For operators", changes)]
