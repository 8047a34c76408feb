"""`POST /v1/models/{name}:predict` with `{"instances": [...]}`, as TensorFlow Serving and KServe have it."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, UnsetType

from common.problems import ProblemError
from ml.serving.predict import batch, batch_response, features, protocols
from ml.serving.predict.gateway import Gateway
from ml.serving.predict.mlflow_invocations import encode_inputs
from ml.serving.registry import LiveRelease


class InstancesRequest(msgspec.Struct):
    instances: list[msgspec.Raw] | UnsetType = UNSET  # by row
    inputs: msgspec.Raw | UnsetType = UNSET  # by column


EXPECTED_BODY = 'an object with "instances", a list of features, or "inputs", a list for each column'
instances_decoder = msgspec.json.Decoder(InstancesRequest)


def create_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=protocols.LegacyErrorRoute, include_in_schema=False)

    @router.post("/models/{name}:predict")
    @router.post("/models/{name}/versions/{version}:predict")
    async def predict(request: Request, name: str, version: str | None = None) -> Response:
        data = await batch.read_request(gateway, request, "v1")
        protocols.require_version(gateway.get_live(name), version)
        given = batch.parse_body(data, instances_decoder, EXPECTED_BODY)
        by_column = isinstance(given.instances, UnsetType)
        if by_column == isinstance(given.inputs, UnsetType):
            raise ProblemError(422, "Which rows?", f"The body has to be {EXPECTED_BODY}.")

        def make(live: LiveRelease) -> list[bytes]:
            protocols.require_version(live, version)
            if not isinstance(given.instances, UnsetType):
                return [bytes(one) for one in given.instances]
            assert not isinstance(given.inputs, UnsetType)
            return encode_inputs(bytes(given.inputs), features.get_feature_kind(live))

        row_name = "inputs[{}]" if by_column else "instances[{}]"
        answered = await batch.predict_rows(gateway, name, make, data, row_name.format)
        return batch_response.build_predictions_response(answered, "outputs" if by_column else "predictions")

    @router.get("/models")
    async def models() -> dict[str, list[str]]:
        return {"models": list(gateway.registry.by_model)}

    @router.get("/models/{name}")
    async def status(name: str) -> dict[str, Any]:
        """Return TensorFlow Serving's answer merged with KServe's."""
        live = gateway.registry.find(name).live
        version = {
            "version": str(live.release.id) if live else "0",
            "state": "AVAILABLE" if live else "LOADING",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return {"name": name, "ready": live is not None, "model_version_status": [version]}

    return router
