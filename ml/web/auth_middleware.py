"""The authentication middleware of all requests but the hot path's, and the redirect after a page's form."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.auth.access import get_bearer_token
from common.problems import ProblemError
from common.web.negotiation import wants_page
from ml.web.auth import HOW_TO_AUTHENTICATE, OperatorAuth, unauthorized_problem
from ml.web.operator_request import FORM_CONTENT_TYPE

PROBE_PATHS = ("/health", "/ready")
OPEN_PATHS = (*PROBE_PATHS, "/sign-in", "/favicon.ico")  # to all; as are the paths below these prefixes:
PROTOCOL_PREFIXES = ("/v1/", "/v2/")
OPEN_PREFIXES = ("/static/", *PROTOCOL_PREFIXES)
PREDICTION_SEGMENTS = ("predict", "invocations")  # the last part of a path


class AuthMiddleware:
    """The middleware that authenticates; where `is_private`, all but predictions is for operators."""

    def __init__(self, app: ASGIApp, operator_auth: OperatorAuth, *, is_private: bool) -> None:
        self.app, self.operator_auth, self.is_private = app, operator_auth, is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        is_free = is_open(request)
        try:  # a bearer token on a prediction may be for another program, such as a proxy
            scope["operator"] = (
                not is_free or get_bearer_token(request) is None
            ) and await self.operator_auth.is_authenticated(request)
        except ProblemError as problem:
            await problem.to_response(request)(scope, receive, send)
            return
        if self.is_private and not scope["operator"] and not is_free:
            await self.build_refusal(request)(scope, receive, send)
        elif is_form_post(request):
            await self.app(scope, receive, redirect_after_post(send))
        else:
            await self.app(scope, receive, send)

    @staticmethod
    def build_refusal(request: Request) -> ASGIApp:
        if request.method == "GET" and wants_page(request):
            return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
        return unauthorized_problem(
            "Bearer", f"This appliance is private (SLIPWAY_PRIVATE). {HOW_TO_AUTHENTICATE}"
        ).to_response(request)


def is_open(request: Request) -> bool:
    path = request.url.path
    if path in OPEN_PATHS or path in ("/v2",) or path.startswith(OPEN_PREFIXES):
        return True
    return is_prediction(path) and not wants_page(request)


def is_prediction(path: str) -> bool:
    parts = path.strip("/").split("/")
    return parts[-1] in PREDICTION_SEGMENTS and (len(parts) == 1 or (parts[0], len(parts)) == ("models", 3))


def is_for_programs(path: str) -> bool:
    """Return True for paths that other programs call by any host name: predictions and probes."""
    return path in PROBE_PATHS or path == "/v2" or path.startswith(PROTOCOL_PREFIXES) or is_prediction(path)


def is_form_post(request: Request) -> bool:
    """Return True when a page's form was sent: a browser gets a page after it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.method == "POST" and kind == FORM_CONTENT_TYPE and wants_page(request)


def redirect_after_post(send: Send) -> Send:
    """Turn an accepted form's 202 into a redirect to the page that shows its progress."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 202:
            message = {**message, "status": 303}
        await send(message)

    return answer
