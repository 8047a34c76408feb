"""The modules of an environment are compiled when it is made, those that can be."""

from collections.abc import Callable

from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer

MODULES = {
    "odd/newer.py": "match = (",
    "odd/deep.py": "x = " + "-" * 100_000 + "1",
    "odd/nul.py": "x = 1\0",
    "odd/zebra.py": "x = 1",
}


def test_modules_are_compiled_though_some_cannot_be(
    make_installer: Callable[..., Installer], shelf: Shelf
) -> None:
    put_package(shelf, "odd", build_wheel("odd", MODULES))
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    made = installer.build(installer.resolve({"requirements.txt": "odd"}))

    compiled = {path.name.split(".")[0] for path in made.rglob("odd/__pycache__/*.pyc")}
    assert compiled == {"__init__", "zebra"}
    assert "are not compiled" not in installer.log.read_text()
