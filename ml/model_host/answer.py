"""One request and one response: input.json in, output.json out, renamed into place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from .errors import ModelError


def answer(directory: str, verb: Callable[[str, dict[str, Any]], Any]) -> None:
    """Call `verb` with the folder and the content of input.json; write its result, or the model's error."""
    with open(directory + "/input.json", encoding="utf-8") as file:
        question = json.load(file)
    try:
        output = {"result": verb(directory, question)}
    except ModelError as fault:
        output = {"error": fault.to_dict()}
    sys.stdout.flush()
    sys.stderr.flush()
    written = directory + "/output.json.new"
    with open(written, "w", encoding="utf-8") as file:
        json.dump(output, file, allow_nan=False)
    os.rename(written, directory + "/output.json")
    os._exit(0)  # does not wait for threads that the model left running
