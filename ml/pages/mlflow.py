"""What pages say of MLflow: where a release is in it, that it is away, a promotion that was not followed."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy.orm import Session

from common.loopback import is_loopback
from common.reach import on_port
from db import appliance, tracking
from ml.settings import Settings

TRAINING = "?workflowType=machine_learning"  # else MLflow's pages are about language models
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def place(request: Request, settings: Settings) -> str | None:
    """Where a browser finds MLflow, as far as it can be told from here; None when there is none."""
    parts = urlsplit(settings.tracking_uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    if parts.port and (is_loopback(parts.hostname) or parts.hostname in EVERYWHERE):
        return on_port(request, parts.port)
    return parts._replace(netloc=parts.netloc.rpartition("@")[-1]).geturl().rstrip("/")


def links(request: Request, settings: Settings, document: dict[str, Any]) -> dict[str, str]:
    """The pages of a release's run, and of the version that it is."""
    known, where = document["mlflow"], place(request, settings)
    if known is None or where is None:
        return {}
    found = {"its run": f"{where}/#/experiments/{known['experiment']}/runs/{known['run']}{TRAINING}"}
    if known["version"]:
        version = f"{where}/#/models/{document['model']}/versions/{known['version']}{TRAINING}"
        found[f"version {known['version']}"] = version
    return found


def said(session: Session, model: str | None = None) -> list[str]:
    """Sentences for the overview; of one model, also why its newest promotion was not followed."""
    sentences = []
    if (trouble := appliance.trouble(session, "tracking")) is not None:
        sentences.append(f"{trouble}. Releases go on without it, and it is told of them later.")
    if model and (known := tracking.alias(session, model)) is not None and known.refused:
        sentences.append(f"MLflow's alias prod was moved back: {known.refused}.")
    return sentences
