"""The calls of one model as OpenAPI has them: each protocol's path, what it takes, an example that works."""

from typing import Any

from common.problems import CONTENT
from ml.serving import rows, tensors
from ml.serving.live import Live, Place

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
WHO = {"model": TEXT, "release": WHOLE, "commit": TEXT}
PROBLEMS = {
    "400": "The body is not JSON",
    "404": "There is no such model or version",
    "408": "The body does not end",
    "413": "The body is longer than 1 MiB, or has too many rows",
    "415": "The body is no JSON by its own word",
    "417": "What is expected is not done here",
    "422": "The features do not fit the model",
    "500": "The model failed",
    "503": "Nothing is live yet, or too busy",
    "504": "The model is too slow",
}
SHARED: dict[str, Any] = {
    "Tensor": {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": TEXT,
            "shape": {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": tensors.RANK},
            "datatype": {"enum": sorted(tensors.TYPES)},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    },
}


def features(place: Place) -> dict[str, Any]:
    """The schema of a model's features, its references made good for where it stands in the document."""
    schema = place.live.schema if place.live else None
    moved: dict[str, Any] = referring(schema or {}, reference(place))
    return moved


def reference(place: Place) -> str:
    return f"#/components/schemas/{place.model.name}.features"


def referring(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [referring(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: root + inner[1:]
        if name == "$ref" and isinstance(inner, str) and inner.startswith("#")
        else referring(inner, root)
        for name, inner in schema.items()
    }


def paths(place: Place, *, alone: bool) -> dict[str, Any]:
    """Every call that is about the model; `alone` when there is no other."""
    name, live = place.model.name, place.live
    many = {"type": "array", "items": {"$ref": reference(place)}, "minItems": 1, "maxItems": rows.MOST}
    predictions = answer({"predictions": {"type": "array"}, **WHO})
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"
    table = "/invocations" if alone else f"/models/{name}/invocations"
    example = shown(live)
    record = {"dataframe_records" if example and isinstance(example[0], dict) else "instances": example or ()}
    infer = of({"inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}, "minItems": 1}})
    return {
        "/predict" if alone else f"/models/{name}/predict": one(place),
        f"{v1}:predict": call(
            f"Many predictions of {name}, as TensorFlow Serving has them",
            of({"instances": many}),
            example and {"instances": [example[0]]},
            predictions,
        ),
        table: call(
            f"Many predictions of {name}, as MLflow has them",
            tables(many),
            example and {key: list(given) for key, given in record.items()},
            predictions,
        ),
        f"{v2}/infer": call(
            f"Many predictions of {name}, by the Open Inference Protocol V2",
            infer,
            example and {"inputs": asked(example[0])},
            answer({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": {"type": "array"}}),
        ),
        v1: look(f"State of {name}, as TensorFlow Serving has it"),
        v2: look(f"Tensors of {name}, by the Open Inference Protocol V2"),
        f"{v2}/ready": look(f"Whether {name} would answer"),
    }


def shown(live: Live | None) -> tuple[Any] | None:
    """Features to show a call with: they work, unless the model says nothing of what it takes."""
    if live is None:
        return None
    if live.example:
        return live.example
    if live.schema is not None:
        return None  # a text, or any JSON: what the model makes of one is not known
    return (7,) if live.release.kind == "time-series" else (1,)


def one(place: Place) -> dict[str, Any]:
    schema, example = features(place), shown(place.live)
    inline = {"$ref": reference(place)} if "$ref" in str(schema) else schema
    said = call(
        f"A prediction of {place.model.name}",
        inline,
        example and example[0],
        answer({"prediction": {}, **WHO}),
    )
    content = said["post"]["requestBody"]["content"]["application/json"]
    if example:
        content["example"] = example[0]  # null is one, too
    said["post"]["description"] = f"The body is the features, as JSON, and nothing around them.{hint(place)}"
    return said


def hint(place: Place) -> str:
    """What the features are, where neither a schema nor an example says it."""
    live = place.live
    if live is None or live.example:
        return ""
    if live.schema is None and live.release.kind == "time-series":
        return " They are the number of days."
    stands = " here 1 stands for them:" if live.schema is None else ""
    return f" The model gives none that work:{stands} `examples()` in its `main.py` would."


def asked(example: Any) -> list[dict[str, Any]]:
    """An example as the tensors that bring it."""
    named = example if isinstance(example, dict) and example else {"features": example}
    return [tensors.written(name, [value]) for name, value in named.items()]


def tables(many: dict[str, Any]) -> dict[str, Any]:
    columns = {
        "columns": {"type": "array", "items": TEXT},
        "data": {"type": "array", "items": {"type": "array"}},
    }
    records = {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": rows.MOST}
    forms = {"dataframe_split": of(columns), "dataframe_records": records, "instances": many, "inputs": {}}
    return {"oneOf": [of({name: form}) for name, form in forms.items()]}


def of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def answer(properties: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": of(properties)}}
    return {"description": "The answer", "headers": HEADERS, "content": content}


HEADERS = {
    "X-Slipway-Release": {"description": "The release that answered", "schema": TEXT},
    "X-Request-ID": {"description": "What the log calls this request", "schema": TEXT},
}


def call(summary: str, schema: Any, example: Any, good: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": schema} | ({"example": example} if example else {})
    return {
        "post": {
            "tags": ["predictions"],
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "200": good,
                **{status: {"description": text, "content": CONTENT} for status, text in PROBLEMS.items()},
            },
        }
    }


def look(summary: str) -> dict[str, Any]:
    good = {"description": "The answer", "content": {"application/json": {"schema": {"type": "object"}}}}
    missing = {"description": "Nothing is live yet"}
    return {
        "get": {
            "tags": ["protocols"],
            "summary": summary,
            "responses": {"200": good, "503": missing},
        }
    }


SERVER: dict[str, Any] = {
    path: look(summary)
    for path, summary in {
        "/v1/models": "The models that are served",
        "/v2": "What the server is",
        "/v2/health/live": "Whether the server is there",
        "/v2/health/ready": "Whether all models would answer",
    }.items()
}
