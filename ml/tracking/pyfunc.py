"""Writes a release as a pyfunc model, without the libraries that the model needs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from db.models import Release
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
    shutil.copytree(source, folder / "repository", ignore=leading_out(source))
    shutil.copyfile(artifact, folder / "artifact")
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


def leading_out(source: Path) -> Callable[[str, list[str]], set[str]]:
    """Links that lead out of the repository, or nowhere: what is behind them is not ours to publish."""
    root = source.resolve()

    def ignored(folder: str, names: list[str]) -> set[str]:
        found = {"__pycache__"} & set(names)
        for path in (Path(folder, name) for name in names):
            out = not path.exists() or not path.resolve().is_relative_to(root)
            if path.is_symlink() and (out or path.is_dir()):  # a folder's may lead round in a circle
                found.add(path.name)
        return found

    return ignored


def requirements(lock: str, mlflow: str) -> str:
    """The lock, and what MLflow needs to load and serve a pyfunc model where the lock has it not."""
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    named = {line.split("==")[0].split("[")[0].strip().lower().replace("_", "-") for line in lines}
    wanted = [] if {"mlflow", "mlflow-skinny"} & named else [f"mlflow-skinny=={mlflow}"]
    wanted += [name for name in ("pandas", "numpy") if name not in named]
    return "\n".join([*lines, *wanted]) + "\n"
