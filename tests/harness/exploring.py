"""The check of a service against its own OpenAPI document, by schemathesis."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

FEW_OR_MANY = pytest.mark.parametrize("examples", [3, pytest.param(300, marks=pytest.mark.soak)])


def explore(url: str, examples: int, leave: str) -> None:
    """Call each operation of the document with valid and with invalid input."""
    command = [
        *(Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json"),
        *("--checks", "not_a_server_error,status_code_conformance,response_schema_conformance"),
        *("--max-examples", str(examples), "--mode", "all", "--seed", "1", "--exclude-path-regex", leave),
        *("--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color"),
    ]
    with TemporaryDirectory() as scratch:  # schemathesis leaves files where it runs
        found = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
