"""`POST /v1/models/{name}:predict` with `{"instances": [...]}`, as TensorFlow Serving and KServe have it."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ml.serving import rows
from ml.serving.gateway import Gateway


class Instances(msgspec.Struct):
    instances: list[msgspec.Raw]


form = msgspec.json.Decoder(Instances)


def routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=rows.Complaining, include_in_schema=False)

    @router.post("/models/{name}:predict")
    @router.post("/models/{name}/versions/{version}:predict")
    async def predict(request: Request, name: str, version: str | None = None) -> Response:
        asked = await rows.call(gateway, request)
        rows.of_version(gateway.live(name), version)
        given = rows.parsed(asked, form, 'an object with "instances", a list of features')
        bodies = [bytes(one) for one in given.instances]
        return rows.predictions(await rows.predict(gateway, name, bodies, asked, "instances[{}]".format))

    @router.get("/models")
    async def models() -> dict[str, list[str]]:
        return {"models": list(gateway.places.by_model)}

    @router.get("/models/{name}")
    async def status(name: str) -> dict[str, Any]:
        """TensorFlow Serving's answer, and KServe's beside it."""
        live = gateway.places.find(name).live
        version = {
            "version": str(live.release.id) if live else "0",
            "state": "AVAILABLE" if live else "LOADING",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return {"name": name, "ready": live is not None, "model_version_status": [version]}

    return router
