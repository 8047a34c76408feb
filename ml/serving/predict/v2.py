"""The Open Inference Protocol V2 (KServe, Triton, MLServer) over HTTP, in JSON."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from common.problems import ProblemError
from common.system.threads import run_in_thread
from ml.serving.predict import batch, batch_response, protocols, tensor_metadata, tensor_outputs, tensors
from ml.serving.predict.gateway import Gateway
from ml.serving.predict.tensors import BINARY_HINT, Tensor
from ml.serving.registry import LiveRelease
from ml.serving.workers.responses import count_bytes
from ml.serving.workers.wire import MAX_SMALL_BYTES


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None


infer_decoder = msgspec.json.Decoder(InferRequest)
MODEL_PATHS = ("/models/{name}", "/models/{name}/versions/{number}")


def create_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v2", route_class=protocols.LegacyErrorRoute, include_in_schema=False)
    registry = gateway.registry

    @router.get("")
    async def server() -> dict[str, Any]:
        return {"name": "slipway", "version": get_version(), "extensions": []}

    @router.get("/health/live")
    async def alive() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> Response:
        return build_state_response({"ready": bool(registry.by_model) and not registry.find_unready()})

    async def metadata(name: str, number: str | None = None) -> dict[str, Any]:
        live = protocols.require_version(gateway.get_live(name), number)
        regression = live.release.kind == "regression"
        outputs = [{"name": "prediction", "datatype": "FP64", "shape": [-1]}] if regression else []
        return {
            "name": name,
            "versions": [str(live.release.id)],
            "platform": "slipway",
            "inputs": tensor_metadata.describe_inputs(live),
            "outputs": outputs,
        }

    async def model_ready(name: str, number: str | None = None) -> Response:
        live = registry.find(name).live
        if live is not None:
            protocols.require_version(live, number)
        return build_state_response({"name": name, "ready": live is not None})

    async def infer(request: Request, name: str, number: str | None = None) -> Response:
        data = await batch.read_request(gateway, request, "v2")
        protocols.require_version(gateway.get_live(name), number)
        if b"inference-header-content-length" in data.headers:
            raise ProblemError(415, "Tensors in binary", BINARY_HINT)
        given = batch.parse_body(data, infer_decoder, 'an object with "inputs", a list of tensors')

        def make(live: LiveRelease) -> list[bytes]:
            return tensors.encode_rows(given.inputs, protocols.require_version(live, number))

        answered = await batch.predict_rows(gateway, name, make, data, "row {}".format)
        identity = given.id if given.id is not None else data.request_id.decode()
        large = sum(map(count_bytes, answered.predictions)) > MAX_SMALL_BYTES
        if large:
            payload = await run_in_thread(encode_response, answered, identity, given.outputs)
        else:
            payload = encode_response(answered, identity, given.outputs)
        return batch_response.build_response([payload], answered.label, (), answered.call)

    for prefix in MODEL_PATHS:
        router.get(prefix)(metadata)
        router.get(prefix + "/ready")(model_ready)
        router.post(prefix + "/infer")(infer)
    return router


def encode_response(
    result: batch_response.BatchResult, request_id: str, requested: list[RequestedOutput] | None
) -> bytes:
    """Return the answer as JSON; raises `ProblemError`."""
    label = result.label
    return msgspec.json.encode(
        {
            "model_name": label.model,
            "model_version": str(label.release),
            "id": request_id,
            "outputs": select_outputs(requested, tensor_outputs.to_outputs(result.predictions)),
            "parameters": {"model": label.model, "release": label.release, "commit": label.commit},
        }
    )


def select_outputs(
    requested: list[RequestedOutput] | None, outputs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the requested outputs; in JSON, also where binary was preferred."""
    if not requested:
        return outputs
    by_name = {one["name"]: one for one in outputs}
    for one in requested:
        if one.name not in by_name:
            detail = f"There is no output {one.name!r}: there is {', '.join(by_name)}."
            raise ProblemError(422, "No such output", detail)
    return [by_name[one.name] for one in requested]


def build_state_response(document: dict[str, Any]) -> Response:
    return JSONResponse(document, 200 if document["ready"] else 503)


def get_version() -> str:
    try:
        return version("slipway")
    except PackageNotFoundError:
        return "0"
