"""The OpenAPI operations of one model: each protocol's path, its body and a working example."""

from typing import Any

from common.problems import PROBLEM_SCHEMA
from ml.serving.predict import batch, tensor_outputs, tensors
from ml.serving.registry import LiveRelease, ServedModel
from ml.web.api.openapi_operations import (
    INTEGER,
    RELEASE_FIELDS,
    STRING,
    build_get_operation,
    build_object_schema,
    build_post_operation,
    build_success_response,
)

SHARED_SCHEMAS: dict[str, Any] = {
    "Problem": PROBLEM_SCHEMA,
    "Tensor": {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": STRING,
            "shape": {"type": "array", "items": INTEGER, "minItems": 1, "maxItems": tensors.MAX_RANK},
            "datatype": {"enum": sorted(tensors.PYTHON_TYPES)},
            "data": {"type": "array", "items": {}},
            "parameters": {"type": "object"},
        },
    },
}


def build_feature_schema(served: ServedModel) -> dict[str, Any]:
    """Return the schema of a model's features, its references rewritten for its place in the document."""
    schema = served.live.schema if served.live else None
    moved: dict[str, Any] = rewrite_refs(schema or {}, get_schema_ref(served))
    return moved


def get_schema_ref(served: ServedModel) -> str:
    return f"#/components/schemas/{served.model.name}.features"


def rewrite_refs(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [rewrite_refs(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: root + inner[1:]
        if name == "$ref" and isinstance(inner, str) and inner.startswith("#")
        else rewrite_refs(inner, root)
        for name, inner in schema.items()
    }


def build_paths(served: ServedModel, *, is_only_model: bool) -> dict[str, Any]:
    """Return every call of the model; `is_only_model` when there is no other."""
    name, live = served.model.name, served.live
    many = {
        "type": "array",
        "items": {"$ref": get_schema_ref(served)},
        "minItems": 1,
        "maxItems": batch.MAX_ROWS,
    }
    predictions = build_success_response({"predictions": {"type": "array"}, **RELEASE_FIELDS})
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"
    table = "/invocations" if is_only_model else f"/models/{name}/invocations"
    example = find_example(live)
    record = {"dataframe_records" if example and isinstance(example[0], dict) else "instances": example or ()}
    infer = build_object_schema(
        {"inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}, "minItems": 1}}
    )
    return {
        "/predict" if is_only_model else f"/models/{name}/predict": build_predict_operation(served),
        f"{v1}:predict": build_post_operation(
            f"Many predictions of {name}, as TensorFlow Serving has them",
            build_object_schema({"instances": many}),
            example and {"instances": [example[0]]},
            predictions,
        ),
        table: build_post_operation(
            f"Many predictions of {name}, as MLflow has them",
            build_invocation_schema(many),
            example and {key: list(given) for key, given in record.items()},
            predictions,
        ),
        f"{v2}/infer": build_post_operation(
            f"Many predictions of {name}, by the Open Inference Protocol V2",
            infer,
            example and {"inputs": to_tensors(example[0])},
            build_success_response(
                {"model_name": STRING, "model_version": STRING, "id": STRING, "outputs": {"type": "array"}}
            ),
        ),
        v1: build_get_operation(f"State of {name}, as TensorFlow Serving has it"),
        v2: build_get_operation(f"Tensors of {name}, by the Open Inference Protocol V2"),
        f"{v2}/ready": build_get_operation(f"Whether {name} would answer"),
    }


def find_example(live: LiveRelease | None) -> tuple[Any] | None:
    """Return features for an example call; they work, unless the model declares nothing of what it takes."""
    if live is None:
        return None
    if live.example:
        return live.example
    if live.schema is not None:
        return None  # a text, or any JSON: the model's result for one is unknown
    return (7,) if live.release.kind == "time-series" else (1,)


def build_predict_operation(served: ServedModel) -> dict[str, Any]:
    schema, example = build_feature_schema(served), find_example(served.live)
    inline = {"$ref": get_schema_ref(served)} if "$ref" in str(schema) else schema
    operation = build_post_operation(
        f"A prediction of {served.model.name}",
        inline,
        example and example[0],
        build_success_response({"prediction": {}, **RELEASE_FIELDS}),
    )
    content = operation["post"]["requestBody"]["content"]["application/json"]
    if example:
        content["example"] = example[0]  # null is one, too
    operation["post"]["description"] = (
        f"The body is the features, as JSON, and nothing around them.{explain_features(served)}"
    )
    return operation


def explain_features(served: ServedModel) -> str:
    """Return a sentence about the features, where neither a schema nor an example describes them."""
    live = served.live
    if live is None or live.example:
        return ""
    if live.schema is None and live.release.kind == "time-series":
        return " They are the number of days."
    stands = " here 1 stands for them:" if live.schema is None else ""
    return f" The model gives none that work:{stands} `examples()` in its `main.py` would."


def to_tensors(example: Any) -> list[dict[str, Any]]:
    """Return an example as tensors."""
    named = example if isinstance(example, dict) and example else {"features": example}
    return [tensor_outputs.to_tensor(name, [value]) for name, value in named.items()]


def build_invocation_schema(many: dict[str, Any]) -> dict[str, Any]:
    columns = {
        "columns": {"type": "array", "items": STRING},
        "data": {"type": "array", "items": {"type": "array"}},
    }
    records = {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": batch.MAX_ROWS}
    forms = {
        "dataframe_split": build_object_schema(columns),
        "dataframe_records": records,
        "instances": many,
        "inputs": {},
    }
    return {"oneOf": [build_object_schema({name: form}) for name, form in forms.items()]}


SERVER_PATHS: dict[str, Any] = {
    path: build_get_operation(summary)
    for path, summary in {
        "/v1/models": "The models that are served",
        "/v2": "Name and version of the server",
        "/v2/health/live": "Liveness of the server",
        "/v2/health/ready": "Readiness of all models",
    }.items()
}
