"""MLflow's REST calls that have to be quick or are frequent: its own client takes a second, and 80 MiB."""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from common.loopback import is_loopback
from ml.tracking.server import Away, Server

SECONDS = 10.0
EXISTS, MISSING = "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"
NO_ALIAS = "INVALID_PARAMETER_VALUE"  # what a registered model without the alias is answered with


class Said(Exception):
    """MLflow refused; `code` is its own word for why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"MLflow said {status} {code}: {message[:300]}")
        self.status, self.code = status, code


class Calls:
    """A connection that is kept; each call raises `Away` or `Said`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        auth = (server.username, server.password) if server.username else None
        self._client = httpx.Client(
            base_url=server.url + "/api/",
            timeout=SECONDS,
            headers=headers,
            auth=auth,
            trust_env=not is_loopback(urlsplit(server.url).hostname or ""),
            verify=server.url.startswith("https:"),  # certificates that nobody needs are 10 MiB
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: str) -> Any:
        return self._call("GET", path, params=query)

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> Any:
        return self._call("PATCH", path, json=body)

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Away(
                f"MLflow at {self.server.url} does not answer: {error or type(error).__name__}"
            ) from error
        said = read(answer)
        if said is not None and answer.is_success:
            return said
        if said is not None and answer.is_client_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            raise Said(answer.status_code, str(said.get("error_code", "")), str(said.get("message", "")))
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Away(f"MLflow at {self.server.url} does not let us in ({answer.status_code})")
        raise Away(f"MLflow at {self.server.url} said {answer.status_code}, and not what MLflow says")


def read(answer: httpx.Response) -> Mapping[str, Any] | None:
    """The JSON object that it is; None for anything else, as a proxy's page."""
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def ping(calls: Calls) -> None:
    """Raises `Away` or `Said` when MLflow cannot be told."""
    calls.post("2.0/mlflow/experiments/search", max_results=1)


def experiment(calls: Calls, name: str) -> tuple[str, str]:
    """The experiment of this name, made when it is missing, brought back when it was deleted.

    Its id, and what tells it from one of the same name on another server.
    """
    by_name = "2.0/mlflow/experiments/get-by-name"
    known = there(calls, by_name, experiment_name=name)
    if known is None:
        made(calls, "2.0/mlflow/experiments/create", name=name)
        known = calls.get(by_name, experiment_name=name)
    found = known["experiment"]
    if found.get("lifecycle_stage") == "deleted":
        calls.post("2.0/mlflow/experiments/restore", experiment_id=found["experiment_id"])
    number = str(found["experiment_id"])
    return number, f"{number} of {found.get('creation_time')}"


def registered_model(calls: Calls, name: str) -> None:
    """Make the registered model when it is missing."""
    # to make it and be refused would leave an error in Postgres' log
    if there(calls, "2.0/mlflow/registered-models/get", name=name) is None:
        made(calls, "2.0/mlflow/registered-models/create", name=name)


def run(calls: Calls, experiment: str, name: str, tags: Mapping[str, str], started: int) -> str:
    """The id of a new run; `started` in milliseconds since 1970."""
    said = [{"key": key, "value": value} for key, value in tags.items()]
    made = calls.post(
        "2.0/mlflow/runs/create", experiment_id=experiment, run_name=name, start_time=started, tags=said
    )
    return str(made["run"]["info"]["run_id"])


def run_with(calls: Calls, experiment: str, tag: str, value: str) -> str | None:
    """The id of the run that has this tag."""
    asked = {"experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1}
    found = calls.post("2.0/mlflow/runs/search", **asked).get("runs", [])
    return str(found[0]["info"]["run_id"]) if found else None


def version_at(calls: Calls, model: str, alias: str) -> int | None:
    """The version of a registered model that an alias is at."""
    absent = (MISSING, NO_ALIAS)
    found = there(calls, "2.0/mlflow/registered-models/alias", absent, name=model, alias=alias)
    return int(found["model_version"]["version"]) if found is not None else None


def let_in(calls: Calls, model: str, experiment: str) -> bool:
    """Give the model's code a user of its own: EDIT on the experiment, READ on the registered model alone.

    Nobody knows its password: each training is given another by `change_password`. False where the server
    has no such users, or does not let us make them.
    """
    if not calls.server.password:
        return False
    code = calls.server.of_code(model)
    try:
        # asked first: to make one again would leave a hash of the password in Postgres' log
        if there(calls, "2.0/mlflow/users/get", username=code.username) is None:
            calls.post("2.0/mlflow/users/create", username=code.username, password=code.password)
        for kind, which, may in (("experiment", experiment, "EDIT"), ("registered_model", model, "READ")):
            grant = {"resource_type": kind, "resource_id": which, "permission": may}
            made(calls, "3.0/mlflow/users/permissions/grant", username=code.username, **grant)
    except Said:
        return False
    return True


def change_password(calls: Calls, model: str) -> Server:
    """Give the user of a model's code a new password; the one before is void from then on."""
    code = calls.server.of_code(model)
    calls.patch("2.0/mlflow/users/update-password", username=code.username, password=code.password)
    return code


def there(calls: Calls, path: str, absent: Collection[str] = (MISSING,), **query: str) -> Any | None:
    """What MLflow answers; None where it says by one of these codes that there is no such thing."""
    try:
        return calls.get(path, **query)
    except Said as refused:
        if refused.code not in absent:
            raise
        return None


def made(calls: Calls, path: str, **body: str) -> bool:
    """Make something; False when it is there already."""
    try:
        calls.post(path, **body)
    except Said as refused:
        if refused.code != EXISTS:
            raise
        return False
    return True
