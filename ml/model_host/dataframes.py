"""Reading of data sets into the form that the model expects: a pandas DataFrame, or a folder's path."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ModelError, call_model

READERS = {"csv": "read_csv", "parquet": "read_parquet", "json": "read_json"}


def read_data(data: dict[str, str]) -> Any:
    """Read `{"path", "format"}` into a DataFrame; with the format `path`, return the path itself."""
    if data["format"] == "path":
        return data["path"]
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise ModelError(
            "pandas is not in the model's environment, and the data is handed over as a DataFrame: "
            f"add pandas to the requirements ({error})"
        ) from error
    reader = READERS[data["format"]]
    return call_model("pandas.{} of {}".format(reader, data["path"]), getattr(pandas, reader), data["path"])
