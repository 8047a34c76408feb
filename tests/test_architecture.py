"""The rooms and their doors: who may import whom, and which library has which door."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cli", "common", "db", "ml", "mlflow_server", "vcs")

# a room → the rooms that it may know
KNOWS = {
    "common": set(),
    "db": {"common"},
    "vcs": {"common", "db"},
    "ml": {"common", "db"},
    "mlflow_server": {"common", "db"},
    "cli": {"common", "db", "vcs", "ml", "mlflow_server", "resources"},
}

# a package of `ml` → those that it may import; single files of `ml` lie below all of them
KNOWS_IN_ML = {
    "model_host": set(),
    "readers": set(),
    "sandbox": set(),
    "environments": {"sandbox", "readers"},
    "sources": {"sandbox"},
    "runtime": {"sources", "environments", "sandbox", "model_host"},
    "mlflow_sync": {"environments", "sandbox"},
    "monitor": set(),
    "builder": {
        *("mlflow_sync", "runtime", "sources", "environments", "sandbox", "readers", "model_host"),
        "monitor",  # its baselines
    },
    "controller": {"sources", "environments", "sandbox"},
    "serving": {"runtime", "sandbox", "model_host"},
    "web": {"serving", "environments", "model_host", "monitor"},
}
# a file of `ml` → packages
SINGLE = {"manifest": {"readers"}, "settings": set(), "__main__": {"web", "sandbox"}}

# a library → the only places that may import it
DOORS = {
    "cronsim": ("ml/cron.py",),
    "fsspec": ("ml/sources/fetch/bucket.py",),
    "git": ("ml/sources/git_",),
    "apprise": ("vcs/notifications/apprise_process.py",),
    "httpcore": (
        "common/web/guarded_connections.py",
        "common/web/deadline.py",
        "ml/sources/fetch/http.py",
        "vcs/notifications/",
    ),
    "cryptography": ("vcs/github_app/app_key.py",),
    "jwt": ("vcs/github_app/app_key.py",),
    "mlflow": ("ml/mlflow_sync/exporter.py", "ml/mlflow_sync/aliases.py", "mlflow_server/"),
    "numpy": ("ml/monitor/drift/", "ml/monitor/quality/"),
    "scipy": ("ml/monitor/drift/", "ml/monitor/quality/"),
    "sklearn": ("ml/monitor/quality/",),
    "singer": ("vcs/tap.py", "vcs/git_tap.py", "vcs/singer.py"),
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


def packages_of_ml(path: Path) -> set[str]:
    """The packages and files of `ml` that a file imports."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            first, *rest = node.module.split(".")
            if first == "ml":
                found |= {rest[0]} if rest else {alias.name for alias in node.names}
    return found


def test_packages_of_ml_import_only_what_lies_below() -> None:
    for path in files():
        if path.parts[0] != "ml" or path.parts == ("ml", "__init__.py"):
            continue
        own = path.parts[1].removesuffix(".py")
        others = packages_of_ml(path) & KNOWS_IN_ML.keys() - {own}
        allowed = KNOWS_IN_ML[own] if own in KNOWS_IN_ML else SINGLE.get(own, set())
        assert others <= allowed, f"{path} imports {others - allowed}"


def test_what_lies_below_knows_nothing_of_what_lies_above() -> None:
    """`KNOWS_IN_ML` itself has no cycle: it can be put in an order."""
    TopologicalSorter(KNOWS_IN_ML | {f"{name}.py": below for name, below in SINGLE.items()}).prepare()


def modules() -> dict[str, Path]:
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in files()}


def imported_modules(name: str, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports, also below it; what only types need is not among them."""
    tree = ast.parse((ROOT / known[name]).read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = name.split(".") if known[name].name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                found |= {whole if whole in known else source}
    return (found & known.keys()) - {name}


def test_no_import_comes_back_to_where_it_began() -> None:
    known = modules()
    TopologicalSorter({name: imported_modules(name, known) for name in known}).prepare()


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    for path in files():
        if library in imported(path):
            assert str(path).startswith(DOORS[library]), f"{path} imports {library}"


def test_only_the_runner_starts_foreign_programs() -> None:
    """Builders and the validator are ours, git has its door; the command line starts the appliance."""
    ours = (
        "ml/readers/",
        "ml/sandbox/",
        "common/system/bounded_output.py",
        "common/system/child_processes.py",
        "common/system/spare_child.py",
        "ml/sources/git_server.py",
        "ml/monitor/program.py",
        "ml/serving/workers/validation.py",
        "cli/",
        "vcs/singer.py",
        "vcs/singer_process.py",
        "vcs/git_clone.py",
        "vcs/git_remote.py",
        "vcs/notifications/",
        "common/system/pinned_venv.py",
        "common/git_login.py",
        "common/system/process_guard.py",
    )
    for path in files():
        if "subprocess" in imported(path):
            assert str(path).startswith(ours), f"{path} imports subprocess"


def test_stages_of_a_build_need_no_database() -> None:
    """What they read comes in as values, what they found goes out as facts: they run without Postgres."""
    known = modules()
    stages = [name for name in known if name.startswith("ml.builder.stages.")]
    assert len(stages) > 7
    for name in stages:
        assert "sqlalchemy" not in imported(known[name]), name
        assert "db.session" not in imported_modules(name, known), name


def test_a_build_context_does_no_work() -> None:
    """It is a value: it imports nothing that could check out, train or judge."""
    allowed = {"db.models", "ml.paths", "ml.settings"}
    assert imported_modules("ml.builder.context", modules()) <= allowed


def test_what_runs_beside_a_model_needs_only_the_stdlib() -> None:
    for path in files():
        if path.parts[:2] == ("ml", "model"):
            foreign = set(imported(path)) - sys.stdlib_module_names
            assert not foreign, f"{path} imports {foreign}"


def test_a_baseline_is_made_without_numpy() -> None:
    """The builder makes it, and the services' environment has neither numpy nor scipy."""
    known = modules()
    for name in ("baseline", "baseline_file", "kinds", "values", "windows", "findings", "request"):
        module = f"ml.monitor.drift.{name}"
        reached = {module, *imported_modules(module, known)}
        libraries = {library for one in reached for library in imported(known[one])}
        assert libraries - {"ml", "common"} <= sys.stdlib_module_names, name


def test_every_module_says_what_it_is_for() -> None:
    for path in files():
        text = (ROOT / path).read_text()
        assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
