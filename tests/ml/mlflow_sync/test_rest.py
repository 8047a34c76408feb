"""Answers at MLflow's address that are none of MLflow's."""

import pytest

from ml.mlflow_sync.rest import MlflowRest
from ml.mlflow_sync.server import MlflowServer, MlflowUnavailableError
from tests.harness.shelf import Shelf

PATH = "2.0/mlflow/users/get"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"pad": "' + b" " * (33 << 20) + b'"}', "returned more than 32 MiB: see what answers"),
        (b"[" * 100_000, "returned an unexpected response"),
        (b"<html>", "returned an unexpected response"),
    ],
)
def test_an_answer_that_is_not_mlflows_is_refused(body: bytes, reason: str, shelf: Shelf) -> None:
    shelf.put(body, f"/api/{PATH}")
    with MlflowRest(MlflowServer(shelf.url(""))) as api, pytest.raises(MlflowUnavailableError, match=reason):
        api.get(PATH)
