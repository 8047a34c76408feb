"""The sign-in of operators with their token, by a form or by the link that the first start prints."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from common.auth import session_cookie
from common.web.bodies import read_body
from ml.web.auth import OperatorAuth
from ml.web.operator_request import MAX_BODY_BYTES, parse_form
from ml.web.pages.render import render_page


def create_router(operator_auth: OperatorAuth) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    async def form(request: Request) -> Response:
        """Return the form; with `?token=` sign in at once and redirect, so that no URL with it is stored."""
        if (given := request.query_params.get("token")) is not None:
            return await decide(request, given, request.query_params.get("next"))
        return render_page(
            request, "sign-in.html", 200, after=to_local_path(request.query_params.get("next")), wrong=False
        )

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        given = parse_form(await read_body(request, MAX_BODY_BYTES))
        return await decide(request, given.get("token", ""), given.get("next"))

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        response = RedirectResponse("/", 303)
        if session_cookie.is_same_origin(request):
            session_cookie.delete_cookie(response)
        return response

    async def decide(request: Request, given: str, after: str | None) -> Response:
        if not await operator_auth.brake.check_token(request, given.strip(), operator_auth.token):
            return render_page(request, "sign-in.html", 403, after=to_local_path(after), wrong=True)
        response = RedirectResponse(to_local_path(after), 303)
        session_cookie.set_cookie(response, operator_auth.token, secure=request.url.scheme == "https")
        return response

    return router


def to_local_path(address: str | None) -> str:
    """Return a path of this host, never one that a browser could take for another host's."""
    plain = address is not None and address.startswith("/") and address.isprintable()
    return address if address and plain and not address.startswith("//") and "\\" not in address else "/"
