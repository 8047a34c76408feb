"""The client of those REST calls to MLflow that have to be quick: its own takes a second and 80 MiB."""

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from common.web.loopback import is_loopback
from ml.mlflow_sync.server import MlflowServer, MlflowUnavailableError

if TYPE_CHECKING:
    import httpx  # large, and most builds do without MLflow: its users here import it when they run

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 32 << 20  # a run with all its metrics and parameters has some hundred KiB
ALREADY_EXISTS, DOES_NOT_EXIST = "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"
NO_ALIAS = "INVALID_PARAMETER_VALUE"  # the answer for a registered model without the alias


class MlflowApiError(Exception):
    """A refusal by MLflow; `code` is its error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"MLflow returned {status} {code}: {message[:300]}")
        self.status, self.code = status, code


class MlflowRest:
    """A persistent connection; each call raises `MlflowUnavailableError` or `MlflowApiError`."""

    def __init__(self, server: MlflowServer) -> None:
        import httpx  # noqa: PLC0415

        self.server = server
        headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        auth = (server.username, server.password) if server.username else None
        self._client = httpx.Client(
            base_url=server.url + "/api/",
            timeout=TIMEOUT_SECONDS,
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
        return self._request("GET", path, params=query)

    def post(self, path: str, **body: Any) -> Any:
        return self._request("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> Any:
        return self._request("PATCH", path, json=body)

    def _request(self, method: str, path: str, **more: Any) -> Any:
        import httpx  # noqa: PLC0415

        try:
            with self._client.stream(method, path, **more) as answer:
                body = parse_object(self._read(answer))
        except httpx.HTTPError as error:
            raise MlflowUnavailableError(
                f"MLflow at {self.server.url} does not answer: {error or type(error).__name__}"
            ) from error
        if body is not None and answer.is_success:
            return body
        if body is not None and answer.is_client_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            raise MlflowApiError(
                answer.status_code, str(body.get("error_code", "")), str(body.get("message", ""))
            )
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise MlflowUnavailableError(
                f"MLflow at {self.server.url} refuses the login ({answer.status_code})"
            )
        raise MlflowUnavailableError(
            f"MLflow at {self.server.url} returned an unexpected response ({answer.status_code})"
        )

    def _read(self, answer: "httpx.Response") -> bytes:
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise MlflowUnavailableError(
                    f"MLflow at {self.server.url} returned more than {MAX_ANSWER_BYTES >> 20} MiB: "
                    "see what answers at this address"
                )
        return bytes(content)


def parse_object(content: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object of an answer; None for anything else, such as a proxy's page."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def check_available(api: MlflowRest) -> None:
    """Raise `MlflowUnavailableError` or `MlflowApiError` when MLflow cannot be used."""
    api.post("2.0/mlflow/experiments/search", max_results=1)


def ensure_experiment(api: MlflowRest, name: str) -> tuple[str, str]:
    """Return the experiment of this name, created when it is missing, restored when it was deleted.

    Returns its id, and a text that distinguishes it from one of the same name on another server.
    """
    by_name = "2.0/mlflow/experiments/get-by-name"
    response = get_or_none(api, by_name, experiment_name=name)
    if response is None:
        create_if_missing(api, "2.0/mlflow/experiments/create", name=name)
        response = api.get(by_name, experiment_name=name)
    found = response["experiment"]
    if found.get("lifecycle_stage") == "deleted":
        api.post("2.0/mlflow/experiments/restore", experiment_id=found["experiment_id"])
    number = str(found["experiment_id"])
    return number, f"{number} of {found.get('creation_time')}"


def ensure_registered_model(api: MlflowRest, name: str) -> None:
    """Create the registered model when it is missing."""
    # to create it and be refused would leave an error in Postgres' log
    if get_or_none(api, "2.0/mlflow/registered-models/get", name=name) is None:
        create_if_missing(api, "2.0/mlflow/registered-models/create", name=name)


def create_run(api: MlflowRest, experiment: str, name: str, tags: Mapping[str, str], started: int) -> str:
    """Create a run and return its id; `started` in milliseconds since 1970."""
    run_tags = [{"key": key, "value": value} for key, value in tags.items()]
    created = api.post(
        "2.0/mlflow/runs/create", experiment_id=experiment, run_name=name, start_time=started, tags=run_tags
    )
    return str(created["run"]["info"]["run_id"])


def find_run(api: MlflowRest, experiment: str, tag: str, value: str) -> str | None:
    """Return the id of the run that has this tag."""
    query = {"experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1}
    found = api.post("2.0/mlflow/runs/search", **query).get("runs", [])
    return str(found[0]["info"]["run_id"]) if found else None


def get_alias_version(api: MlflowRest, model: str, alias: str) -> int | None:
    """Return the version of a registered model that an alias points to."""
    absent = (DOES_NOT_EXIST, NO_ALIAS)
    found = get_or_none(api, "2.0/mlflow/registered-models/alias", absent, name=model, alias=alias)
    return int(found["model_version"]["version"]) if found is not None else None


def grant_access(api: MlflowRest, model: str, experiment: str) -> bool:
    """Give the model's code a user of its own: EDIT on the experiment, READ on the registered model alone.

    Nobody knows its password: each training gets another by `change_password`. Returns False where the server
    has no such users, or does not allow us to create them.
    """
    if not api.server.password:
        return False
    code = api.server.for_model_code(model)
    try:
        # read first: to create it again would leave a hash of the password in Postgres' log
        if get_or_none(api, "2.0/mlflow/users/get", username=code.username) is None:
            api.post("2.0/mlflow/users/create", username=code.username, password=code.password)
        for kind, resource, permission in (
            ("experiment", experiment, "EDIT"),
            ("registered_model", model, "READ"),
        ):
            grant = {"resource_type": kind, "resource_id": resource, "permission": permission}
            create_if_missing(api, "3.0/mlflow/users/permissions/grant", username=code.username, **grant)
    except MlflowApiError:
        return False
    return True


def change_password(api: MlflowRest, model: str) -> MlflowServer:
    """Give the user of a model's code a new password, which voids the one before."""
    code = api.server.for_model_code(model)
    api.patch("2.0/mlflow/users/update-password", username=code.username, password=code.password)
    return code


def get_or_none(
    api: MlflowRest, path: str, missing_codes: Collection[str] = (DOES_NOT_EXIST,), **query: str
) -> Any | None:
    """Return MLflow's answer; None where it reports by one of these codes that there is no such thing."""
    try:
        return api.get(path, **query)
    except MlflowApiError as refused:
        if refused.code not in missing_codes:
            raise
        return None


def create_if_missing(api: MlflowRest, path: str, **body: str) -> bool:
    """Create something; return False when it exists already."""
    try:
        api.post(path, **body)
    except MlflowApiError as refused:
        if refused.code != ALREADY_EXISTS:
            raise
        return False
    return True
