"""What an MLflow run shows of a release: parameters and stage times, by names that MLflow accepts."""

import posixpath

from db.models import Release, Stage


def stage_seconds(stages: list[Stage]) -> dict[str, float]:
    """Return the seconds that the last attempt of each stage took."""
    return {
        f"seconds/{stage.name}": (stage.ended_at - stage.started_at).total_seconds()
        for stage in stages
        if stage.ended_at is not None
    }


def build_params(release: Release) -> dict[str, str]:
    facts = {
        "commit": release.commit,
        "trigger": release.trigger,
        "pull_request": release.pull_request,
        "environment": release.environment,
        "python": release.python,
        "kind": release.kind,
        "artifact": release.artifact,
    }
    for part, data in (release.data or {}).items():
        facts |= {f"data/{part}": data.get("sha256") if isinstance(data, dict) else data}
    return {to_mlflow_name(name): str(value)[:5000] for name, value in facts.items() if value is not None}


def to_mlflow_name(name: str) -> str:
    """Return a name that MLflow accepts: a model may call its metrics as it likes."""
    cleaned = "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name)
    return posixpath.normpath(cleaned[:250]).lstrip("/.") or "_"  # MLflow treats them as paths
