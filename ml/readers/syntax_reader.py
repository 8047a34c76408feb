"""The reader of the names that a Python file may define, without running it: a bounded process of its own.

Run as a program it is that process: `python syntax_reader.py FILE` prints `{"names"}` or `{"error"}`.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ANY_NAME = "*"  # it may define any name: `from model import *`, `globals()[...] = ...`
DYNAMIC_NAMES = ("globals", "locals", "vars", "exec", "eval", "setattr", "__getattr__")


def read_names(path: Path) -> set[str]:
    """Return the names that a Python file may define; `ANY_NAME` where that is unclear or it exceeds 1 MiB.

    Raises RejectedError where it is no Python of our own version.
    """
    from common.errors import RejectedError  # noqa: PLC0415 (not for the program)
    from ml.readers.toml_reader import MAX_FILE_BYTES, read_in_subprocess  # noqa: PLC0415

    if path.stat().st_size > MAX_FILE_BYTES:
        return {ANY_NAME}
    answer = read_in_subprocess(path, __file__)
    if answer is None:
        return {ANY_NAME}
    if "error" in answer:
        raise RejectedError(f"{path.name} is no Python: {answer['error']}")
    return set(answer["names"])


def collect_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if isinstance(node.ctx, ast.Store):
                yield name
            case ast.Attribute(attr=name) if isinstance(node.ctx, ast.Store):
                yield name  # `sys.modules[__name__].entry_point = ...`
            case ast.Name(id=name) if name in DYNAMIC_NAMES:
                yield ANY_NAME
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield ANY_NAME if name in DYNAMIC_NAMES else name
            case ast.alias(name=name, asname=other):
                yield other or name


def main() -> None:
    try:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (fast to start)
            answer: dict[str, object] = {"names": sorted(set(collect_names(ast.parse(file.read()))))}
    except SyntaxError as error:
        answer = {"error": f"SyntaxError in line {error.lineno}: {error.msg[:500]}"}
    except ValueError as error:  # it contains a NUL
        answer = {"error": str(error)[:500]}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
