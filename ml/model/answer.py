"""One question, one answer: input.json in, output.json out, renamed into place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from .fault import Fault


def answer(directory: str, verb: Callable[[str, dict[str, Any]], Any]) -> None:
    """Call `verb` with the folder and what input.json holds; write its result, or the model's fault."""
    with open(directory + "/input.json", encoding="utf-8") as file:
        question = json.load(file)
    try:
        output = {"result": verb(directory, question)}
    except Fault as fault:
        output = {"error": fault.document()}
    sys.stdout.flush()
    sys.stderr.flush()
    written = directory + "/output.json.new"
    with open(written, "w", encoding="utf-8") as file:
        json.dump(output, file, allow_nan=False)
    os.rename(written, directory + "/output.json")
    os._exit(0)  # threads that the model left running do not hold it up
