"""What was resolved once is used again for the same files of the same model, and installed by its hashes."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from common.errors import RejectedError, UnavailableError
from ml.environments import locks
from ml.environments.locked_environment import LockedEnvironment
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.ml.environments.conftest import Installer

MakeInstaller = Callable[..., Installer]
PROJECT = '[project]\nname = "project"\nversion = "1"\ndependencies = ["six"]\n'
LYING_LOCK = """
version = 1
revision = 2
requires-python = ">=3.8"
[[package]]
name = "six"
version = "1.0"
source = {{ registry = "{index}" }}
wheels = [{{ url = "{url}six-1.0-py3-none-any.whl", hash = "sha256:{digest}" }}]
[[package]]
name = "project"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "six" }}]
"""


def offer(shelf: Shelf, text: str, name: str = "six") -> None:
    """Offer a package whose one module holds `text`."""
    put_package(shelf, name, build_wheel(name, {f"{name}/__init__.py": text}))


@pytest.mark.parametrize("included", ["base.txt", "deps/base.txt"])
def test_one_model_does_not_choose_anothers_packages(
    included: str, make_installer: MakeInstaller, shelf: Shelf, other_shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"), UV_INDEX=other_shelf.url("/files/"))
    offer(shelf, "good")
    offer(other_shelf, "evil")
    requirements = {"requirements.txt": f"-r {included}\n", included: "six\n"}
    evil = f"six @ {other_shelf.url('/files/six-1.0-py3-none-any.whl')}\n" + "# padded\n" * 100_000
    installer.resolve({**requirements, included: evil, "aaa.txt": "six\n"}, "attacker")

    found = installer.resolve(requirements, "victim")
    assert installer.module(installer.build(found, "victim"), "six") == "good"


def test_a_changed_file_that_is_included_resolves_again(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    for name in ("six", "idna"):
        offer(shelf, "x", name)
    before = installer.resolve({"requirements.txt": "-r deps/base.txt\n", "deps/base.txt": "six\n"})
    after = installer.resolve({"requirements.txt": "-r deps/base.txt\n", "deps/base.txt": "idna\n"})

    assert locks.list_packages(before.lock) == ["six==1.0"]
    assert locks.list_packages(after.lock) == ["idna==1.0"]


def test_the_same_files_are_resolved_once(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    first = installer.resolve({"requirements.txt": "six\n"})
    shelf.items.clear()

    assert installer.resolve({"requirements.txt": "six\n"}) == first


def test_a_text_that_nothing_includes_resolves_nothing_again(
    make_installer: MakeInstaller, shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    first = installer.resolve({"requirements.txt": "six\n", "notes.txt": "one\n", "docs/a.txt": "one\n"})
    shelf.items.clear()

    changed = {"requirements.txt": "six\n", "notes.txt": "two\n", "docs/a.txt": "two\n"}
    assert installer.resolve(changed) == first


def test_a_file_that_changed_on_its_index_is_refused(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "good")
    resolved = installer.resolve({"requirements.txt": "six\n"})
    offer(shelf, "evil")
    trees_of_cache = installer.home.package_cache
    trees_of_cache.rename(trees_of_cache.with_name("gone"))

    with pytest.raises(RejectedError, match="six"):
        installer.build(resolved)


def test_a_lock_keeps_the_index_of_each_package(
    make_installer: MakeInstaller, shelf: Shelf, other_shelf: Shelf
) -> None:
    """A repository's own index is asked again when its release is restored, and no other."""
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"), UV_INDEX=other_shelf.url("/simple/"))
    offer(other_shelf, "from its own index", "inhouse")
    text = f"--index-url {other_shelf.url('/simple/')}\ninhouse\n"
    resolved = installer.resolve({"requirements.txt": text})

    assert other_shelf.url("/files/inhouse") in resolved.lock
    assert installer.module(installer.build(resolved), "inhouse") == "from its own index"


def test_a_login_in_a_requirement_is_refused(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    address = shelf.url("/files/six-1.0-py3-none-any.whl", user="me:password-4711@")
    with pytest.raises(RejectedError, match="an address with a login") as fault:
        installer.resolve({"requirements.txt": f"six @ {address}\n"})

    assert "password-4711" not in str(fault.value)
    assert not [*installer.home.locks.glob("*")]


def test_a_lock_of_an_older_release_is_installed(make_installer: MakeInstaller, shelf: Shelf) -> None:
    """For its model alone: what a name and a version mean is for each index to say."""
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    python = installer.resolve({"requirements.txt": "six\n"}).python
    made = installer.build(LockedEnvironment("six==1.0\n", python))

    assert installer.module(made, "six") == "x"
    assert made.name.endswith("-one")


def test_an_older_lock_is_not_installed_from_anothers_cache(
    make_installer: MakeInstaller, shelf: Shelf, other_shelf: Shelf
) -> None:
    """A lock may say of any file that it comes from the operator's index, and uv keeps it as such."""
    index = shelf.url("/simple/")
    installer = make_installer(UV_DEFAULT_INDEX=index, UV_INDEX=other_shelf.url("/empty/"))
    offer(shelf, "good")
    offer(other_shelf, "evil")
    wheel, url = other_shelf.items["/files/six-1.0-py3-none-any.whl"].content, other_shelf.url("/files/")
    lock = LYING_LOCK.format(index=index, url=url, digest=hashlib.sha256(wheel).hexdigest())
    evil = installer.resolve({"pyproject.toml": PROJECT, "uv.lock": lock}, "attacker")
    assert installer.module(installer.build(evil, "attacker"), "six") == "evil"

    assert (
        installer.module(installer.build(LockedEnvironment("six==1.0\n", evil.python), "victim"), "six")
        == "good"
    )


@pytest.mark.parametrize(
    "lock",
    [
        'lock-version = "1.0"\n[[packages]]\nname = "six"\nversion = "1"\nwheels = [{url = "https://a.example/x"}]',
        'lock-version = "1.0"\n' + "a." * 1000 + "a = 1",
        'lock-version = "1.0"\npackages = 1',
        'lock-version = "1.0"\n[[packages]]\nversion = "1"',
        'lock-version = "1.0"\na = ' + "[" * 10_000,
        "lock-version = ",
    ],
)
def test_a_lock_that_uv_did_not_write_is_refused(lock: str) -> None:
    with pytest.raises(RejectedError):
        locks.check_lock(lock)


@pytest.mark.parametrize("text", ["a" * 10_000, '"' + '\\"' * 10_000])
def test_a_lock_that_a_build_wrote_is_looked_at_in_no_time(text: str) -> None:
    started = time.process_time()
    with pytest.raises(RejectedError):
        locks.check_lock('lock-version = "1.0"\n' + text)

    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", [".python-version", "pyproject.toml"])
def test_a_repository_may_say_which_python_it_needs(
    name: str, make_installer: MakeInstaller, shelf: Shelf
) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    text = ">=3.10" if name == ".python-version" else PROJECT + 'requires-python = ">=3.10"\n'
    resolved = installer.resolve({name: text, "requirements.txt": "six\n"})

    assert installer.module(installer.build(resolved), "six") == "x"


def test_names_of_files_need_not_be_text(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    with pytest.raises(RejectedError, match="part"):
        installer.resolve({"requirements.txt": "./part\n", "part/\udcff": ""})


def test_an_environment_is_called_made_once_it_is(make_installer: MakeInstaller, shelf: Shelf) -> None:
    installer = make_installer(UV_DEFAULT_INDEX=shelf.url("/simple/"))
    offer(shelf, "x")
    resolved = installer.resolve({"requirements.txt": "six\n"})
    wheels = {path: item for path, item in shelf.items.items() if path.endswith(".whl")}
    for path in wheels:
        del shelf.items[path]
    with pytest.raises((RejectedError, UnavailableError)):
        installer.build(resolved)
    assert f"building environment {resolved.key} from 1 packages" in installer.log.read_text()
    assert "is ready" not in installer.log.read_text()

    shelf.items.update(wheels)
    installer.build(resolved)
    assert f"environment {resolved.key} is ready" in installer.log.read_text()


@pytest.mark.parametrize("text", ['\\"' * 20_000, "a" * 40_000, "a " * 20_000, "a." * 20_000])
def test_a_long_marker_is_checked_in_no_time(text: str) -> None:
    lock = f"""lock-version = "1.0"
[[packages]]
name = "six"
version = "1.0"
marker = '''platform_machine == '"{text}''''
wheels = [{{ url = "https://x.org/six-1.0-py3-none-any.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]
"""
    began = time.perf_counter()
    with suppress(RejectedError):  # what looks like a key of many parts
        locks.check_lock(lock)

    assert time.perf_counter() - began < 1
