"""The rooms and their doors: who may import whom, and which library has which door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cli", "common", "db", "ml", "tracker", "vcs")

# a room → the rooms that it may know
KNOWS = {
    "common": set(),
    "db": {"common"},
    "vcs": {"common", "db"},
    "ml": {"common", "db"},
    "tracker": {"common", "db"},
    "cli": {"common", "db", "vcs", "ml", "tracker", "resources"},
}

# a library → the only places that may import it
DOORS = {
    "fsspec": ("ml/fetch/bucket.py",),
    "git": ("ml/stages/checkout.py",),
    "httpcore": ("ml/fetch/http.py", "ml/fetch/guard.py"),
    "mlflow": ("ml/tracking/tell.py", "tracker/"),
    "singer": ("vcs/tap.py", "vcs/singer.py"),
    "tap_github": ("vcs/tap.py",),
}


def files() -> list[Path]:
    return sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The top names of the modules that a file imports; those beside it are not among them."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_the_rooms_below_it(room: str) -> None:
    for path in files():
        if path.parts[0] == room:
            others = set(imported(path)) & {*ROOMS, "resources"} - {room}
            assert others <= KNOWS[room], f"{path} imports {others - KNOWS[room]}"


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    for path in files():
        if library in imported(path):
            assert str(path).startswith(DOORS[library]), f"{path} imports {library}"


def test_only_the_runner_starts_foreign_programs() -> None:
    """Builders and the validator are ours, git has its door; the command line starts the appliance."""
    ours = (
        "ml/runner/",
        "ml/builders.py",
        "ml/stages/checkout.py",
        "ml/serving/validation.py",
        "cli/",
        "vcs/singer.py",
        "common/environments.py",
        "common/leash.py",
    )
    for path in files():
        if "subprocess" in imported(path):
            assert str(path).startswith(ours), f"{path} imports subprocess"


def test_what_runs_beside_a_model_needs_the_standard_library_alone() -> None:
    import sys

    for path in files():
        if path.parts[:2] == ("ml", "model"):
            foreign = set(imported(path)) - sys.stdlib_module_names
            assert not foreign, f"{path} imports {foreign}"


def test_every_module_says_what_it_is_for() -> None:
    for path in files():
        text = (ROOT / path).read_text()
        assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
