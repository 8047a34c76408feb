"""MLflow beside the appliance: whether one of its own is started, and which process is told what of it."""

from pathlib import Path

from cli.settings import Settings

PREFIX = (
    "MLFLOW_TRACKING_"  # of what a person says of a server of his: its address, user and password, or token
)
PASSWORDS = Path("mlflow")  # below SLIPWAY_HOME, as `tracker` keeps them


def split(environment: dict[str, str]) -> dict[str, str]:
    """Take what only watch has to know out of `environment`."""
    return {name: environment.pop(name) for name in sorted(environment) if name.startswith(PREFIX)}


def for_watch(settings: Settings, folder: Path, said: dict[str, str]) -> dict[str, str]:
    """How watch signs in. The file may not be there yet: the server makes it when it first starts."""
    if not settings.own_mlflow:
        return said
    return {
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": "slipway",
        "MLFLOW_PASSWORD_PATH": str(folder / PASSWORDS / "appliance.password"),
    }


def for_serve(settings: Settings) -> dict[str, str]:
    """What its pages link to."""
    return {"MLFLOW_TRACKING_URI": settings.mlflow_url}


def password_file(folder: Path) -> Path:
    """Where the operator's password is found."""
    return folder / PASSWORDS / "operator.password"
