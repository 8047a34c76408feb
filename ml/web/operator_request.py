"""The body of an operator's call: small JSON, a form, or nothing, validated with errors by field."""

from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.problems import ProblemError
from common.web.bodies import read_body

MAX_BODY_BYTES = 16 << 10  # bytes of a body
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"


def to_one_line(text: str) -> str:
    """Return a text for tables, pages and logs without characters that move a cursor or begin a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


ShortText = Annotated[str, Field(max_length=1000), AfterValidator(to_one_line)]


class OperatorRequest(BaseModel):
    """An operator's request with who makes it and why; both are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: Annotated[ShortText, Field(max_length=100), AfterValidator(lambda who: who or "operator")] = (
        "operator"
    )
    why: ShortText | None = None


Form = TypeVar("Form", bound=OperatorRequest)


class RequestBody(Generic[Form]):
    """A dependency that returns a call's body as `form`; an empty body is one without fields.

    It is read here, and not by FastAPI, which would read and validate a body before it checks the token.
    """

    def __init__(self, form: type[Form]) -> None:
        self.form = form

    async def __call__(self, request: Request) -> Form:
        body = await read_body(request, MAX_BODY_BYTES)
        if not body.strip():
            return self.validate_body({})
        kind = get_content_type(request)
        if kind == FORM_CONTENT_TYPE and "authorization" not in request.headers:  # a page's
            return self.validate_body(parse_form(body))
        if kind != "application/json":
            detail = "The body has to be JSON and say so: `Content-Type: application/json`. It may be empty."
            raise ProblemError(415, "The body is not JSON", detail)
        return self.validate_body(body)

    def validate_body(self, given: bytes | dict[str, str]) -> Form:
        try:
            if isinstance(given, bytes):
                return self.form.model_validate_json(given)
            return self.form.model_validate(given)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False, include_context=False)) from error

    @property
    def openapi(self) -> dict[str, Any]:
        schema = self.form.model_json_schema()
        return {
            "requestBody": {
                "required": "required" in schema,
                "content": {"application/json": {"schema": schema}},
            }
        }


def get_content_type(request: Request) -> str:
    """Return the type of a body without its parameters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100))
