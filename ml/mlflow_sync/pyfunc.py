"""The conversion of a release to a pyfunc model, without the libraries that the model needs."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import yaml

from db.models import Release
from ml.environments.locks import list_requirements
from ml.paths import find_export
from ml.sandbox.confine_command import MODEL_HOST

PACKAGE_NAME = "slipway_model"  # the copy of ml/model_host that loads it


def write_model(
    release: Release, source: Path, artifact: Path, output: Path, *, run: str, model: str, mlflow: str
) -> None:
    """Write the files of a pyfunc model, from the model's folder `source` and the trained `artifact`.

    `run` and `model` are ids of MLflow's, `mlflow` is its version.
    """
    assert release.python is not None
    shutil.copytree(MODEL_HOST, output / "code" / PACKAGE_NAME, ignore=shutil.ignore_patterns("__pycache__"))
    folder = output / "slipway"
    folder.mkdir()
    zip_repository(find_export(source), folder / "repository.zip")
    link_or_copy(artifact, folder / "artifact")
    about = {"entry_point": release.entry_point, "kind": release.kind, "release": release.id}
    about |= {"path": release.path} if release.path else {}
    (folder / "slipway.json").write_text(json.dumps(about))
    (output / "requirements.txt").write_text(format_requirements(release.lock or "", mlflow))
    packages: list[Any] = ["pip", {"pip": ["-r requirements.txt"]}]
    conda = {"channels": ["conda-forge"], "dependencies": [f"python={release.python}", *packages]}
    virtual = {
        "python": release.python,
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    flavor = {
        "loader_module": f"{PACKAGE_NAME}.loader",
        "code": "code",
        "data": "slipway",
        "python_version": release.python,
        "env": {"virtualenv": "python_env.yaml", "conda": "conda.yaml"},
    }
    about_model = {
        "mlflow_version": mlflow,
        "run_id": run,
        "model_id": model,
        "metadata": {"release": release.id, "commit": release.commit},
        "flavors": {"python_function": flavor},
    }
    for name, document in (("conda.yaml", conda), ("python_env.yaml", virtual), ("MLmodel", about_model)):
        (output / name).write_text(yaml.safe_dump(document))


def zip_repository(source: Path, archive: Path) -> None:
    """Zip the repository: MLflow would drop files by their name, and upload each one separately.

    Links that lead out of the repository, or nowhere, are skipped: their targets are not ours.
    """
    root = source.resolve()
    with zipfile.ZipFile(
        archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
    ) as zip_file:
        for folder, folders, files in os.walk(source):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for path in (Path(folder, name) for name in files):
                if path.is_file() and path.resolve().is_relative_to(root):
                    zip_file.write(path, path.relative_to(source))


def link_or_copy(file: Path, target: Path) -> None:
    """Link the file to `target`, or copy it where that is impossible."""
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)


def format_requirements(lock: str, mlflow: str) -> str:
    """Return the lock with what MLflow needs to load and serve a pyfunc model, where the lock lacks it."""
    lines = list_requirements(lock)
    named = {re.split(r"[=\[@; ]", line)[0].lower().replace("_", "-") for line in lines}
    missing = [] if {"mlflow", "mlflow-skinny"} & named else [f"mlflow-skinny=={mlflow}"]
    missing += [name for name in ("pandas", "numpy") if name not in named]
    return "\n".join([*lines, *missing]) + "\n"
