"""The script that saves a forest in MLflow's own flavour: `python save_for_mlflow.py FOREST FOLDER`."""

import pickle
import sys
from pathlib import Path

import mlflow

forest = pickle.loads(Path(sys.argv[1]).read_bytes())
mlflow.sklearn.save_model(
    forest, sys.argv[2], serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
)
