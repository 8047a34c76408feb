"""`POST /invocations`, MLflow's call: tables and lists of rows as its clients send them."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, Raw, UnsetType

from common.problems import ProblemError
from ml.serving.predict import batch, batch_response, features
from ml.serving.predict.csv_rows import encode_table, format_csv_row, parse_csv
from ml.serving.predict.gateway import Gateway
from ml.serving.registry import LiveRelease

BODY_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
EXPECTED_BODY = 'an object with "dataframe_split", "dataframe_records", "instances" or "inputs"'


class DataframeSplit(msgspec.Struct):
    columns: list[str | int]
    data: list[list[Raw]]


class InvocationRequest(msgspec.Struct):
    dataframe_split: DataframeSplit | UnsetType = UNSET
    dataframe_records: list[dict[str, Raw]] | UnsetType = UNSET
    instances: list[Raw] | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    params: dict[str, Any] | None = None


invocation_decoder = msgspec.json.Decoder(InvocationRequest)
columns_decoder = msgspec.json.Decoder(dict[str, list[Raw]])
rows_decoder = msgspec.json.Decoder(list[Raw])


def create_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.post("/invocations")
    async def invoke(request: Request) -> Response:
        return await answer(request, None)

    @router.post("/models/{name}/invocations")
    async def invoke_of(request: Request, name: str) -> Response:
        return await answer(request, name)

    async def answer(request: Request, name: str | None) -> Response:
        kind = dict(request.scope["headers"]).get(b"content-type", b"").lower()
        is_csv = kind.startswith(b"text/csv")
        data = await batch.read_request(gateway, request, "csv" if is_csv else "invocations")
        gateway.get_live(name)  # before the body is parsed
        if is_csv:
            ignore_unknown = request.query_params.get("columns") == "known"
            has_names = b"header=absent" not in kind.replace(b" ", b"")

            def of_table(live: LiveRelease) -> list[bytes]:
                return parse_csv(data.body, live, ignore_unknown=ignore_unknown, has_names=has_names)

            return batch_response.build_predictions_response(
                await batch.predict_rows(gateway, name, of_table, data, format_csv_row)
            )
        given = batch.parse_body(data, invocation_decoder, EXPECTED_BODY)
        name_row = f"{find_form(given)}[{{}}]".format
        return batch_response.build_predictions_response(
            await batch.predict_rows(gateway, name, lambda live: read_rows(given, live), data, name_row)
        )

    return router


def find_form(given: InvocationRequest) -> str:
    """Return the form of the body; raises `ProblemError` unless it has exactly one."""
    found = [name for name in BODY_FORMS if getattr(given, name) is not UNSET]
    if len(found) != 1:
        listed = " and ".join(found) or "none of them"
        raise ProblemError(
            422, "Which rows?", f"The body has to be {EXPECTED_BODY}, one of them: there is {listed}."
        )
    if given.params:
        raise ProblemError(422, "No parameters", "predict() takes features alone: send no params.")
    return found[0]


def read_rows(given: InvocationRequest, live: LiveRelease) -> list[bytes]:
    """Return the features of each row; raises `ProblemError`."""
    kind = features.get_feature_kind(live)
    if isinstance(given.dataframe_split, DataframeSplit):
        split = given.dataframe_split
        return encode_table(list(map(str, split.columns)), split.data, kind, "dataframe_split.data")
    if not isinstance(given.dataframe_records, UnsetType):
        records = given.dataframe_records
        return [features.encode_row(list(one), list(map(bytes, one.values())), kind) for one in records]
    if not isinstance(given.instances, UnsetType):
        return [bytes(one) for one in given.instances]
    assert not isinstance(given.inputs, UnsetType)
    return encode_inputs(bytes(given.inputs), kind)


def encode_inputs(given: bytes, kind: str) -> list[bytes]:
    """Return the rows: of a list its items, of an object of lists its columns' rows, else the one row."""
    try:
        return [bytes(one) for one in rows_decoder.decode(given)]
    except msgspec.ValidationError:
        pass
    try:
        columns = columns_decoder.decode(given)
    except msgspec.ValidationError:
        return [given]
    if len({len(values) for values in columns.values()}) != 1:
        lengths = ", ".join(f"{name}: {len(values)}" for name, values in columns.items()) or "there is none"
        raise ProblemError(422, "Columns of several lengths", f"Columns have to be equally long: {lengths}.")
    return encode_table(
        list(columns), [list(one) for one in zip(*columns.values(), strict=True)], kind, "inputs"
    )
