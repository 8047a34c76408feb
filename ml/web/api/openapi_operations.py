"""Operations and schemas of OpenAPI, built from their parts."""

from typing import Any

from common.problems import PROBLEM_CONTENT

STRING, INTEGER = {"type": "string"}, {"type": "integer"}
RELEASE_FIELDS = {"model": STRING, "release": INTEGER, "commit": STRING}
PROBLEMS = {
    "400": "The body is not JSON",
    "404": "There is no such model or version",
    "408": "The body does not end",
    "413": "The body is longer than 1 MiB, or has too many rows",
    "415": "The Content-Type is not JSON",
    "417": "The Expect header is not supported",
    "422": "The features do not fit the model",
    "500": "The model failed",
    "503": "Nothing is live yet, or overloaded",
    "504": "The model is too slow",
}
HEADERS = {
    "X-Slipway-Release": {"description": "The release that answered", "schema": STRING},
    "X-Slipway-Prediction": {"description": "The call's id in the request log", "schema": STRING},
    "X-Request-ID": {"description": "The id of this request in the log", "schema": STRING},
}


def build_object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def build_success_response(properties: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": build_object_schema(properties)}}
    return {"description": "The answer", "headers": HEADERS, "content": content}


def build_post_operation(summary: str, schema: Any, example: Any, good: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": schema} | ({"example": example} if example else {})
    return {
        "post": {
            "tags": ["predictions"],
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "200": good,
                **{
                    status: {"description": text, "content": PROBLEM_CONTENT}
                    for status, text in PROBLEMS.items()
                },
            },
        }
    }


def build_get_operation(summary: str) -> dict[str, Any]:
    good = {"description": "The answer", "content": {"application/json": {"schema": {"type": "object"}}}}
    missing = {"description": "Nothing is live yet"}
    return {
        "get": {
            "tags": ["protocols"],
            "summary": summary,
            "responses": {"200": good, "503": missing},
        }
    }
