"""Signing in with the operators' token, by a form or by the link that the first start prints."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from common import cookie
from common.bodies import read_body
from ml.api.access import Operators
from ml.api.asked import LIMIT, fields
from ml.pages.render import page


def routes(operators: Operators) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    async def form(request: Request) -> Response:
        """With `?token=` at once: the answer leads on, and the address with the token is not kept."""
        if (given := request.query_params.get("token")) is not None:
            return await decide(request, given, request.query_params.get("next"))
        return page(request, "sign-in.html", 200, after=local(request.query_params.get("next")), wrong=False)

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        given = fields(await read_body(request, LIMIT))
        return await decide(request, given.get("token", ""), given.get("next"))

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        response = RedirectResponse("/", 303)
        if cookie.from_here(request):
            cookie.take_back(response)
        return response

    async def decide(request: Request, given: str, after: str | None) -> Response:
        if not await operators.brake.judge(request, given.strip(), operators.token):
            return page(request, "sign-in.html", 403, after=local(after), wrong=True)
        response = RedirectResponse(local(after), 303)
        cookie.give(response, operators.token, secure=request.url.scheme == "https")
        return response

    return router


def local(address: str | None) -> str:
    """A path of ours: nothing that a browser could take for another host's."""
    plain = address is not None and address.startswith("/") and address.isprintable()
    return address if address and plain and not address.startswith("//") and "\\" not in address else "/"
