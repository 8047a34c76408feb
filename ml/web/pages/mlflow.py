"""Parts of pages about MLflow: links to a release, and messages about outages and refused promotions."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy.orm import Session

from common.auth.access import url_on_port
from common.web.loopback import is_loopback
from db import appliance, mlflow_state
from ml.settings import MlSettings

TRAINING_VIEW = "?workflowType=machine_learning"  # else MLflow's pages are about language models
WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def find_mlflow_url(request: Request, settings: MlSettings) -> str | None:
    """Return MLflow's URL for a browser, as far as it can be derived here; None when there is none."""
    parts = urlsplit(settings.tracking_uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    if parts.port and (is_loopback(parts.hostname) or parts.hostname in WILDCARD_HOSTS):
        return url_on_port(request, parts.port)
    return parts._replace(netloc=parts.netloc.rpartition("@")[-1]).geturl().rstrip("/")


def find_release_links(request: Request, settings: MlSettings, document: dict[str, Any]) -> dict[str, str]:
    """Return links to the MLflow pages of a release's run and of its version."""
    run, base = document["mlflow"], find_mlflow_url(request, settings)
    if run is None or base is None:
        return {}
    links = {"its run": f"{base}/#/experiments/{run['experiment']}/runs/{run['run']}{TRAINING_VIEW}"}
    if run["version"]:
        version = f"{base}/#/models/{document['model']}/versions/{run['version']}{TRAINING_VIEW}"
        links[f"version {run['version']}"] = version
    return links


def read_status_messages(session: Session, model: str | None = None) -> list[str]:
    """Return sentences for the overview; of one model, also why its newest promotion was refused."""
    sentences = []
    if (trouble := appliance.find_problem(session, "tracking")) is not None:
        sentences.append(f"{trouble}. Releases continue without it, and are exported later.")
    if model and (alias := mlflow_state.find_alias(session, model)) is not None and alias.refused:
        sentences.append(f"MLflow's alias prod was moved back: {alias.refused}.")
    return sentences
