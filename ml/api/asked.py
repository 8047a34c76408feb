"""What an operator sends along with a call: JSON, a form, or nothing; small, and told what is wrong."""

from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.bodies import read_body
from common.problems import Problem

LIMIT = 16 << 10  # bytes of a body
FORM = "application/x-www-form-urlencoded"


def one_line(text: str) -> str:
    """Words for tables, pages and logs: nothing in them moves a cursor or begins a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


Words = Annotated[str, Field(max_length=1000), AfterValidator(one_line)]


class Asked(BaseModel):
    """Who asks, and why; both are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: Annotated[Words, Field(max_length=100), AfterValidator(lambda who: who or "operator")] = "operator"
    why: Words | None = None


Form = TypeVar("Form", bound=Asked)


class Body(Generic[Form]):
    """A dependency that gives a call's body as `form`; an empty one asks for nothing in particular.

    It is read here, and not by FastAPI: that would read and judge a body before it looks at the token.
    """

    def __init__(self, form: type[Form]) -> None:
        self.form = form

    async def __call__(self, request: Request) -> Form:
        body = await read_body(request, LIMIT)
        if not body.strip():
            return self.form()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == FORM and "authorization" not in request.headers:  # a page's
            return self.checked(fields(body))
        if kind != "application/json":
            detail = "The body has to be JSON and say so: `Content-Type: application/json`. It may be empty."
            raise Problem(415, "The body is not JSON", detail)
        return self.checked(body)

    def checked(self, given: bytes | dict[str, str]) -> Form:
        try:
            if isinstance(given, bytes):
                return self.form.model_validate_json(given)
            return self.form.model_validate(given)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False, include_context=False)) from error

    @property
    def openapi(self) -> dict[str, Any]:
        schema = self.form.model_json_schema()
        return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


def fields(body: bytes) -> dict[str, str]:
    """What was filled in of a form."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100))
