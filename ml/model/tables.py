"""Data sets, read into what the model expects: a pandas DataFrame, or a folder's path."""

from __future__ import annotations

import importlib
from typing import Any

from .fault import Fault, call

READERS = {"csv": "read_csv", "parquet": "read_parquet", "json": "read_json"}


def read(data: dict[str, str]) -> Any:
    """`{"path", "format"}` as a DataFrame; with the format `path`, the path itself."""
    if data["format"] == "path":
        return data["path"]
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise Fault(
            "pandas is not in the model's environment, and the data is handed over as a DataFrame: "
            f"add pandas to the requirements ({error})"
        ) from error
    reader = READERS[data["format"]]
    return call("pandas.{} of {}".format(reader, data["path"]), getattr(pandas, reader), data["path"])
