"""`POST /invocations`, MLflow's call: tables and lists of rows as its clients send them."""

import csv
import io
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, Raw, UnsetType

from common.problems import Problem
from ml.model.shape import resolved
from ml.serving import fitting, rows
from ml.serving.gateway import Gateway
from ml.serving.live import Live

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
WANTED = 'an object with "dataframe_split", "dataframe_records", "instances" or "inputs"'


class Split(msgspec.Struct):
    columns: list[str]
    data: list[list[Raw]]


class Invocation(msgspec.Struct):
    dataframe_split: Split | UnsetType = UNSET
    dataframe_records: list[dict[str, Raw]] | UnsetType = UNSET
    instances: list[Raw] | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    params: dict[str, Any] | None = None


form = msgspec.json.Decoder(Invocation)
by_column = msgspec.json.Decoder(dict[str, list[Raw]])
by_row = msgspec.json.Decoder(list[Raw])


def routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.post("/invocations")
    async def invoke(request: Request) -> Response:
        return await answer(request, None)

    @router.post("/models/{name}/invocations")
    async def invoke_of(request: Request, name: str) -> Response:
        return await answer(request, name)

    async def answer(request: Request, name: str | None) -> Response:
        asked = await rows.call(gateway, request)
        live = gateway.live(name)
        if asked.headers.get(b"content-type", b"").lower().startswith(b"text/csv"):
            return rows.predictions(
                await rows.predict(gateway, name, of_csv(asked.body, live), asked, row_of_csv)
            )
        place, bodies = read(rows.parsed(asked, form, WANTED), live)
        return rows.predictions(await rows.predict(gateway, name, bodies, asked, f"{place}[{{}}]".format))

    return router


def read(given: Invocation, live: Live) -> tuple[str, list[bytes]]:
    """Which form it is, and the features of each row; raises `Problem`."""
    found = [name for name in FORMS if getattr(given, name) is not UNSET]
    if len(found) != 1:
        said = " and ".join(found) or "none of them"
        raise Problem(422, "Which rows?", f"The body has to be {WANTED}, one of them: there is {said}.")
    if given.params:
        raise Problem(422, "No parameters", "predict() takes features alone: send no params.")
    kind = fitting.kind(live)
    if isinstance(given.dataframe_split, Split):
        split = given.dataframe_split
        return "dataframe_split", table(split.columns, split.data, kind, "dataframe_split.data")
    if not isinstance(given.dataframe_records, UnsetType):
        records = given.dataframe_records
        bodies = [fitting.row(list(one), list(map(bytes, one.values())), kind) for one in records]
        return "dataframe_records", bodies
    if not isinstance(given.instances, UnsetType):
        return "instances", [bytes(one) for one in given.instances]
    assert not isinstance(given.inputs, UnsetType)
    return "inputs", inputs(bytes(given.inputs), kind)


def table(names: list[str], data: list[list[Raw]], kind: str, place: str) -> list[bytes]:
    if len(set(names)) < len(names):
        raise Problem(422, "Two columns of one name", f"The columns are {', '.join(names)}.")
    for at, values in enumerate(data):
        if len(values) != len(names):
            detail = f"{place}[{at}] has {len(values)} values, and there are {len(names)} columns."
            raise Problem(422, "A row of another length", detail)
    return [fitting.row(names, list(map(bytes, values)), kind) for values in data]


def inputs(given: bytes, kind: str) -> list[bytes]:
    """A list is one row each, an object of lists has them by column, anything else is one row."""
    try:
        return [bytes(one) for one in by_row.decode(given)]
    except msgspec.ValidationError:
        pass
    try:
        columns = by_column.decode(given)
    except msgspec.ValidationError:
        return [given]
    if len({len(values) for values in columns.values()}) != 1:
        said = ", ".join(f"{name}: {len(values)}" for name, values in columns.items()) or "there is none"
        raise Problem(422, "Columns of several lengths", f"Columns have to be equally long: {said}.")
    return table(list(columns), [list(one) for one in zip(*columns.values(), strict=True)], kind, "inputs")


def of_csv(body: bytes, live: Live) -> list[bytes]:
    """The first line names the columns."""
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Problem(400, "The body is not CSV", f"It says it is CSV, and is not: {error}.") from error
    lines = [line for line in lines if line]
    if not lines:
        raise Problem(400, "The body is not CSV", "The first line has to name the columns.")
    schema = live.schema or {}
    properties = resolved(schema, schema).get("properties", {})
    texts = {name for name, one in properties.items() if resolved(one, schema).get("type") == "string"}
    names = lines[0]
    data = [
        [cell(text, name in texts) for name, text in zip(names, line, strict=False)] for line in lines[1:]
    ]
    for at, line in enumerate(lines[1:]):
        if len(line) != len(names):
            detail = f"{row_of_csv(at)} has {len(line)} values, and there are {len(names)} columns."
            raise Problem(422, "A row of another length", detail)
    return table(names, data, fitting.kind(live), "csv")


def row_of_csv(at: int) -> str:
    """As people count the rows below the one that names the columns."""
    return f"row {at + 1}"


def cell(text: str, is_text: bool) -> Raw:
    """A number when it is one, nothing when it is empty, else the text."""
    if not is_text:
        if text == "":
            return Raw(b"null")
        if text in ("True", "False"):
            return Raw(text.lower().encode())
        try:
            return Raw(msgspec.json.encode(msgspec.json.decode(text, type=int | float)))
        except (msgspec.MsgspecError, ValueError):
            pass
    return Raw(msgspec.json.encode(text))
