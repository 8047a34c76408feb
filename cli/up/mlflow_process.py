"""MLflow's variables: whether the appliance starts its own server, and which process gets which of them."""

from pathlib import Path

from cli.settings import CliSettings

# of a person's settings for another server: its address, user and password, or token
MLFLOW_PREFIX = "MLFLOW_TRACKING_"
PASSWORDS_FOLDER = Path("mlflow")  # below SLIPWAY_HOME, where `mlflow_server` stores them


def take_mlflow_variables(environment: dict[str, str]) -> dict[str, str]:
    """Remove from `environment` the variables that only the controller needs, and return them."""
    return {name: environment.pop(name) for name in sorted(environment) if name.startswith(MLFLOW_PREFIX)}


def watch_environment(
    settings: CliSettings, folder: Path, mlflow_variables: dict[str, str]
) -> dict[str, str]:
    """Return the controller's login. The file may not exist yet: the server creates it at its first start."""
    if not settings.has_local_mlflow:
        return mlflow_variables
    return {
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": "slipway",
        "MLFLOW_PASSWORD_PATH": str(folder / PASSWORDS_FOLDER / "appliance.password"),
    }


def serve_environment(settings: CliSettings) -> dict[str, str]:
    """Return the address that serve's pages link to."""
    return {"MLFLOW_TRACKING_URI": settings.mlflow_url}


def password_file(folder: Path) -> Path:
    """Return the path of the operator's password."""
    return folder / PASSWORDS_FOLDER / "operator.password"
