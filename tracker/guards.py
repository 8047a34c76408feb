"""What the MLflow server does for nobody who signs in, of whom a model's code is one."""

import base64
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import ArtifactRepositoryRegistry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri
from starlette.responses import JSONResponse, PlainTextResponse

ASSISTANT = "/ajax-api/3.0/mlflow/assistant"
CODE = "model-"  # how the users begin that the code of models signs in as, see `ml/tracking/server.py`
MADE = ("experiments/create", "experiments/update", "registered-models/create", "registered-models/rename")
App = Callable[[Any, Any, Any], Awaitable[None]]


def keep_to(destination: str) -> None:
    """The server reads and writes artifacts below `destination` alone.

    Else who may create an experiment could name any folder of this machine for it, with a link in it to
    any file, and have the server hand that out.
    """
    find, create = ArtifactRepositoryRegistry.get_artifact_repository, SqlAlchemyStore.create_experiment

    def found(self: Any, artifact_uri: str, *more: Any, **named: Any) -> Any:
        if not below(artifact_uri, destination):
            raise refusal()
        return find(self, artifact_uri, *more, **named)

    def created(self: Any, name: str, artifact_location: str | None = None, tags: Any = None) -> Any:
        if artifact_location:
            raise refusal()
        return create(self, name, None, tags)

    setattr(ArtifactRepositoryRegistry, find.__name__, found)
    setattr(SqlAlchemyStore, create.__name__, created)


def refusal() -> MlflowException:
    error: MlflowException = MlflowException.invalid_parameter_value(
        "this server keeps artifacts in its own store alone"
    )
    return error


def below(uri: str, destination: str) -> bool:
    """Whether `uri` is `destination` or lies below it; links lead to where they lead."""
    if is_local_uri(uri) != is_local_uri(destination):
        return False
    if is_local_uri(uri):
        uri, destination = (os.path.realpath(local_file_uri_to_path(place)) for place in (uri, destination))
    inside = uri == destination or uri.startswith(destination.rstrip("/") + "/")
    return inside and ".." not in uri.split("/")


def without_assistant(app: App) -> App:
    """MLflow's assistant runs commands on this machine, for whoever signs in from it."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        refused = scope["type"] == "http" and scope["path"].startswith(ASSISTANT)
        await (PlainTextResponse("not offered here", 404) if refused else app)(scope, receive, send)

    return guarded


def without_new_names(app: App) -> App:
    """Whoever makes an experiment or a registered model owns it: a model's code could take another's name."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        path = re.sub("/+", "/", scope.get("path", ""))
        if scope["type"] == "http" and path.rstrip("/").endswith(MADE) and is_code(scope["headers"]):
            said = {
                "error_code": "PERMISSION_DENIED",
                "message": "a model's code makes no experiment or model",
            }
            await JSONResponse(said, 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def is_code(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the code of a model signs in; what cannot be read signs nobody in."""
    for name, value in headers:
        if name == b"authorization" and value[:6].lower() == b"basic ":
            try:
                user = base64.b64decode(value[6:]).decode("utf-8", "replace")
            except ValueError:
                return True
            if user.startswith(CODE):
                return True
    return False
