"""Writes a release as a pyfunc model, without the libraries that the model needs."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import yaml

from db.models import Release
from ml.environments.locks import requirements_of
from ml.runner.sandbox import MODEL

PACKAGE = "slipway_model"  # the copy of ml/model that loads it


def write(
    release: Release, source: Path, artifact: Path, into: Path, *, run: str, model: str, mlflow: str
) -> None:
    """The files of a pyfunc model, of the repository in `source` and the trained `artifact`.

    `run` and `model` are ids of MLflow's, `mlflow` is its version.
    """
    assert release.python is not None
    shutil.copytree(MODEL, into / "code" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    folder = into / "slipway"
    folder.mkdir()
    packed(source, folder / "repository.zip")
    linked(artifact, folder / "artifact")
    about = {"entry_point": release.entry_point, "kind": release.kind, "release": release.id}
    (folder / "slipway.json").write_text(json.dumps(about))
    (into / "requirements.txt").write_text(requirements(release.lock or "", mlflow))
    packages: list[Any] = ["pip", {"pip": ["-r requirements.txt"]}]
    conda = {"channels": ["conda-forge"], "dependencies": [f"python={release.python}", *packages]}
    virtual = {
        "python": release.python,
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    flavor = {
        "loader_module": f"{PACKAGE}.loader",
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
        (into / name).write_text(yaml.safe_dump(document))


def packed(source: Path, archive: Path) -> None:
    """The repository in one file: MLflow would lose files by the name of theirs, and send each for itself.

    Links that lead out of the repository, or nowhere, are left out: what is behind them is not ours.
    """
    root = source.resolve()
    with zipfile.ZipFile(
        archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
    ) as made:
        for folder, folders, files in os.walk(source):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for path in (Path(folder, name) for name in files):
                if path.is_file() and path.resolve().is_relative_to(root):
                    made.write(path, path.relative_to(source))


def linked(file: Path, place: Path) -> None:
    """The file once more, as a link where that can be."""
    try:
        place.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, place)


def requirements(lock: str, mlflow: str) -> str:
    """The lock, and what MLflow needs to load and serve a pyfunc model where the lock has it not."""
    lines = requirements_of(lock)
    named = {re.split(r"[=\[@; ]", line)[0].lower().replace("_", "-") for line in lines}
    wanted = [] if {"mlflow", "mlflow-skinny"} & named else [f"mlflow-skinny=={mlflow}"]
    wanted += [name for name in ("pandas", "numpy") if name not in named]
    return "\n".join([*lines, *wanted]) + "\n"
