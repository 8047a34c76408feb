"""Restrictions of the MLflow server for everybody who signs in, including a model's code."""

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

ASSISTANT_PATH = "/ajax-api/3.0/mlflow/assistant"
# the prefix of users that models' code signs in as, see `ml/mlflow_sync/server.py`
MODEL_CODE_PREFIX = "model-"
CREATE_PATHS = (
    "experiments/create",
    "experiments/update",
    "registered-models/create",
    "registered-models/rename",
)
App = Callable[[Any, Any, Any], Awaitable[None]]


def restrict_artifacts(destination: str) -> None:
    """Limit the server to artifacts below `destination`.

    Otherwise whoever may create an experiment could name any folder of this machine for it, with a link in
    it to any file, and have the server return that.
    """
    find, create = ArtifactRepositoryRegistry.get_artifact_repository, SqlAlchemyStore.create_experiment

    def found(self: Any, artifact_uri: str, *more: Any, **named: Any) -> Any:
        if not is_below(artifact_uri, destination):
            raise artifact_error()
        return find(self, artifact_uri, *more, **named)

    def created(self: Any, name: str, artifact_location: str | None = None, tags: Any = None) -> Any:
        if artifact_location:
            raise artifact_error()
        return create(self, name, None, tags)

    setattr(ArtifactRepositoryRegistry, find.__name__, found)
    setattr(SqlAlchemyStore, create.__name__, created)


def artifact_error() -> MlflowException:
    error: MlflowException = MlflowException.invalid_parameter_value(
        "this server stores artifacts only in its own store"
    )
    return error


def is_below(uri: str, destination: str) -> bool:
    """Return whether `uri` is `destination` or lies below it; links are resolved."""
    if is_local_uri(uri) != is_local_uri(destination):
        return False
    if is_local_uri(uri):
        uri, destination = (os.path.realpath(local_file_uri_to_path(place)) for place in (uri, destination))
    inside = uri == destination or uri.startswith(destination.rstrip("/") + "/")
    return inside and ".." not in uri.split("/")


def block_assistant(app: App) -> App:
    """Block MLflow's assistant, which runs commands on this machine for whoever signs in from it."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        refused = scope["type"] == "http" and scope["path"].startswith(ASSISTANT_PATH)
        await (PlainTextResponse("not offered here", 404) if refused else app)(scope, receive, send)

    return guarded


def block_new_names(app: App) -> App:
    """Refuse new names to models' code: a creator owns what it names, and could take another model's name."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        path = re.sub("/+", "/", scope.get("path", ""))
        if (
            scope["type"] == "http"
            and path.rstrip("/").endswith(CREATE_PATHS)
            and is_model_code(scope["headers"])
        ):
            problem = {
                "error_code": "PERMISSION_DENIED",
                "message": "a model's code makes no experiment or model",
            }
            await JSONResponse(problem, 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def is_model_code(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a model's code signs in; unreadable credentials sign nobody in."""
    for name, value in headers:
        if name == b"authorization" and value[:6].lower() == b"basic ":
            try:
                user = base64.b64decode(value[6:]).decode("utf-8", "replace")
            except ValueError:
                return True
            if user.startswith(MODEL_CODE_PREFIX):
                return True
    return False
