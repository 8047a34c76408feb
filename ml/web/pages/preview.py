"""The page that tries any release beside the live one, and the same for programs."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from common.system.threads import run_in_thread
from common.web.negotiation import wants_page
from db.models import Release
from ml.serving.predict.batch import read_request, run_while_connected
from ml.serving.predict.batch_response import build_response
from ml.serving.predict.gateway import DECODE_ERRORS, Gateway, decode_json
from ml.serving.preview.preview import Preview, PreviewState
from ml.serving.preview.previews import Previews
from ml.serving.preview.problems import Ending
from ml.serving.registry import LoadedRelease
from ml.serving.request_body import not_json_problem
from ml.web import serializers
from ml.web.auth_middleware import is_form_post
from ml.web.pages import query
from ml.web.pages.predict import build_template_values, render_problem
from ml.web.pages.preview_answers import ask_both, build_body, draw_answers
from ml.web.pages.render import render_page
from ml.web.preview_access import PreviewAccess

FEATURES = {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}


def create_router(
    previews: Previews, access: PreviewAccess, gateway: Gateway, sessions: sessionmaker[Session]
) -> APIRouter:
    router = APIRouter(
        prefix="/releases/{number}/predict", tags=["operators"], dependencies=[Depends(access)]
    )
    pages = PreviewPages(previews, sessions)

    @router.get("", summary="Is the preview of a release running? For a browser, the form that tries it")
    async def show(request: Request, number: int) -> Response:
        return await pages.show(request, number)

    @router.post("", summary="Try a release, whatever became of it, on features", openapi_extra=FEATURES)
    async def predict(request: Request, number: int) -> Response:
        """Answer beside the live release; users get nothing from this one, and nothing is recorded."""
        if is_form_post(request):
            return await pages.start(request, number)
        data = await read_request(gateway, request, "preview")
        try:
            decode_json(data.body)
        except DECODE_ERRORS as error:
            raise not_json_problem(error, data.headers, data.body, "the features") from error
        preview = previews.find(number) or previews.start(await run_in_thread(pages.find_release, number))
        asking = ask_both(previews, preview, data.body, data.request_id)
        answer, beside = await run_while_connected(data.receive, asking)
        return build_response(build_body(answer, beside), answer[1], [answer[0]], headers={"Vary": "Accept"})

    @router.post("/stop", status_code=202, summary="Stop the preview of a release")
    async def stop(number: int) -> Response:
        return await pages.stop(number)

    return router


@dataclass(frozen=True)
class PreviewPages:
    """The page of a preview: not running, starting, or the form."""

    previews: Previews
    sessions: sessionmaker[Session]
    # many threads at once would leave the event loop little of Python
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def find_release(self, number: int) -> Release:
        """Return a release that can be tried; raises `ProblemError`, blocking."""
        with self.sessions.begin() as session:
            release = serializers.find_release(session, number)
            self.previews.check_possible(release)
            return release

    async def show(self, request: Request, number: int) -> Response:
        preview = self.previews.find(number)
        if preview is None:
            release = await run_in_thread(self.find_release, number)
            return self.render_state(request, release, ending=self.previews.find_ending(number))
        if preview.loaded is None or not wants_page(request):
            return self.render_state(request, preview.release, preview)
        if request.headers.get("HX-Request"):  # the page that waited for this one has other scripts
            return Response(headers={"HX-Refresh": "true"})
        preview.touch()
        response = await self.show_form(request, preview, preview.loaded)
        if preview.state is PreviewState.ENDED:
            return self.render_state(request, preview.release, ending=self.previews.find_ending(number))
        return response

    async def start(self, request: Request, number: int) -> Response:
        """Start the preview for a page's form, which leads to the page again; it says why not, too."""
        release = await run_in_thread(self.find_release, number)
        try:
            preview = self.previews.start(release)
        except ProblemError as problem:
            ending = Ending(problem.title, problem.detail.removesuffix("."), problem.status)
            return self.render_state(request, release, ending=ending, status=problem.status)
        location = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return JSONResponse(describe_state(release, preview, None), 202, {"Location": location})

    async def stop(self, number: int) -> Response:
        preview = self.previews.find(number)
        release = preview.release if preview else await run_in_thread(self.find_release, number)
        if preview is not None:
            await self.previews.end(preview, Ending("The preview has ended", "it was stopped by a person"))
        document = describe_state(release, None, self.previews.find_ending(number))
        return JSONResponse(document, 202, {"Location": f"/releases/{release.id}/predict"})

    def render_state(
        self,
        request: Request,
        release: Release,
        preview: Preview | None = None,
        ending: Ending | None = None,
        status: int = 200,
    ) -> Response:
        document = describe_state(release, preview, ending)
        if not wants_page(request):
            return JSONResponse(document, headers={"Vary": "Accept"})
        more = {"limits": self.previews.limits, "ending": ending, "query": request.url.query}
        return render_page(request, "preview-start.html", status, **document, **more)

    async def show_form(self, request: Request, preview: Preview, loaded: LoadedRelease) -> Response:
        """Return the form with the typed values, and with any of them, both answers or the errors."""
        live = self.previews.registry.by_model[loaded.release.model].live
        loaded = replace(loaded, row=live.row if live is not None else None)
        pairs = [(name, text) for name, text in request.query_params.multi_items() if text != ""]
        values = build_template_values(loaded, f"/releases/{loaded.release.id}", pairs)
        values |= {"live": live, "live_answer": None, "replay": await self.previews.replay(preview)}
        if not pairs:
            return render_page(request, "preview.html", 200, **values)
        try:
            features = query.parse_features(pairs, loaded.schema)
            body = msgspec.json.encode(features)
            asking = ask_both(self.previews, preview, body, request.scope["request_id"])
            answer, beside = await run_while_connected(request.receive, asking)
            async with self.drawing:
                values |= await run_in_thread(draw_answers, loaded, live, answer, beside)
        except ProblemError as problem:
            return render_problem(request, "preview.html", values, problem)
        return render_page(request, "preview.html", 200, **values | {"call": features})


def describe_state(release: Release, preview: Preview | None, ending: Ending | None) -> dict[str, Any]:
    """Return the state of a release's preview as programs get it."""
    return {
        "model": release.model,
        "release": release.id,
        "commit": release.commit,
        "state": preview.state.value if preview is not None else "stopped",
        "activity": preview.activity if preview is not None and preview.loaded is None else None,
        "reason": ending.reason if ending is not None else None,
        "log": ending.log if ending is not None else "",
    }
