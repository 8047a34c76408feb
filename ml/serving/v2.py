"""The Open Inference Protocol V2 (KServe, Triton, MLServer) over HTTP, in JSON."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from common.problems import Problem
from ml.serving import rows, tensors
from ml.serving.answers import size
from ml.serving.gateway import Gateway
from ml.serving.protocol import MAX_SMALL_BYTES
from ml.serving.tensors import BINARY, Tensor
from ml.serving.threads import aside


class Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class Infer(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None


form = msgspec.json.Decoder(Infer)
OF = ("/models/{name}", "/models/{name}/versions/{number}")


def routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v2", route_class=rows.Complaining, include_in_schema=False)
    places = gateway.places

    @router.get("")
    async def server() -> dict[str, Any]:
        return {"name": "slipway", "version": ours(), "extensions": []}

    @router.get("/health/live")
    async def alive() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> Response:
        live = [place.live for place in places.by_model.values()]
        return state({"ready": bool(live) and None not in live})

    async def metadata(name: str, number: str | None = None) -> dict[str, Any]:
        live = rows.of_version(gateway.live(name), number)
        regression = live.release.kind == "regression"
        outputs = [{"name": "prediction", "datatype": "FP64", "shape": [-1]}] if regression else []
        return {
            "name": name,
            "versions": [str(live.release.id)],
            "platform": "slipway",
            "inputs": tensors.metadata(live),
            "outputs": outputs,
        }

    async def model_ready(name: str, number: str | None = None) -> Response:
        live = places.find(name).live
        if live is not None:
            rows.of_version(live, number)
        return state({"name": name, "ready": live is not None})

    async def infer(request: Request, name: str, number: str | None = None) -> Response:
        asked = await rows.call(gateway, request)
        live = rows.of_version(gateway.live(name), number)
        if b"inference-header-content-length" in asked.headers:
            raise Problem(415, "Tensors in binary", BINARY)
        given = rows.parsed(asked, form, 'an object with "inputs", a list of tensors')
        answered = await rows.predict(gateway, name, tensors.rows(given.inputs, live), asked, "row {}".format)
        identity = given.id if given.id is not None else asked.name.decode()
        large = sum(map(size, answered.predictions)) > MAX_SMALL_BYTES
        if large:
            payload = await aside(document, answered, identity, given.outputs)
        else:
            payload = document(answered, identity, given.outputs)
        return rows.respond([payload], answered.label, ())

    for prefix in OF:
        router.get(prefix)(metadata)
        router.get(prefix + "/ready")(model_ready)
        router.post(prefix + "/infer")(infer)
    return router


def document(answered: rows.Answered, identity: str, asked: list[Output] | None) -> bytes:
    """The answer as JSON; raises `Problem`."""
    label = answered.label
    return msgspec.json.encode(
        {
            "model_name": label.model,
            "model_version": str(label.release),
            "id": identity,
            "outputs": wanted(asked, tensors.outputs(answered.predictions)),
            "parameters": {"model": label.model, "release": label.release, "commit": label.commit},
        }
    )


def wanted(asked: list[Output] | None, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outputs that were asked for; in JSON, also where binary would have been liked."""
    if not asked:
        return given
    by_name = {one["name"]: one for one in given}
    for one in asked:
        if one.name not in by_name:
            detail = f"There is no output {one.name!r}: there is {', '.join(by_name)}."
            raise Problem(422, "No such output", detail)
    return [by_name[one.name] for one in asked]


def state(document: dict[str, Any]) -> Response:
    return JSONResponse(document, 200 if document["ready"] else 503)


def ours() -> str:
    try:
        return version("slipway")
    except PackageNotFoundError:
        return "0"
