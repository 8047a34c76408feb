"""The requirements that uv is called to resolve: the files that list them, and the allowed indexes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml.environments import requirement_places, requirements_check, uv_settings
from ml.environments.local_parts import list_files
from ml.environments.package_files import PackageFile, get_table, read_project

LOCK_FORMAT = ("--no-header", "--no-annotate", "--format", "pylock.toml")
COMPILE_COMMAND = ("pip", "compile", *LOCK_FORMAT)
EXPORT_COMMAND = ("export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", *LOCK_FORMAT)


@dataclass(frozen=True)
class Requirements:
    """The requirements of a repository; arguments are for a uv that runs in it, or in a copy of it."""

    arguments: tuple[str | Path, ...]
    files: list[Path]  # all files that affect the result
    configuration: str = ""  # the text of a uv.toml
    default_index: str = ""  # used in place of PyPI
    hashes: Mapping[str, set[str]] = field(default_factory=dict)  # see Inclusions
    needs_build: bool = False  # code of the repository may run during resolution
    pins: str = ""  # lines of `name==version`, which the result has to agree with

    @property
    def key_parts(self) -> list[str]:
        """Return what affects the result besides the files."""
        return [self.configuration, self.pins] if self.pins else [self.configuration]

    @property
    def replaces_default(self) -> bool:
        """True when the repository's default index replaces the operator's, which stands for PyPI."""
        return uv_settings.replaces_default(self.default_index)


def read_requirements(package_file: PackageFile, source: Path, export: Path | None = None) -> Requirements:
    """Return the requirements, which may name files in `export`, by default `source`.

    Raises RejectedError for a file that cannot be used.
    """
    export = export or source
    if package_file.is_default:
        return Requirements((*COMPILE_COMMAND, package_file.path), [package_file.path])
    included = [
        requirements_check.check_inclusions(
            requirement_places.check_in_repository(path, export), source, export
        )
        for path in package_file.paths
    ] + [
        requirements_check.check_inclusions(
            requirement_places.check_in_repository(path, export), path.parent, export
        )
        for path in list_workspace_files(source, export)
    ]
    files = [file for each in included for file in each.files]
    files += list_files(export) if package_file.needs_build else []
    if package_file.path.name == "uv.lock":
        return Requirements(EXPORT_COMMAND, files)
    settings = uv_settings.read_settings(source, export)
    default_indexes = [index for each in included for index in each.indexes]
    return Requirements(
        (*COMPILE_COMMAND, *(f"./{path.relative_to(source)}" for path in package_file.paths)),
        files,
        uv_settings.to_toml(settings),
        next(iter(default_indexes), None) or uv_settings.default_index(settings) or "",
        {name: hashes for each in included for name, hashes in each.hashes.items()},
        package_file.needs_build or has_sources(source) or any(each.has_projects for each in included),
    )


def list_workspace_files(source: Path, export: Path) -> list[Path]:
    """Return the files around `source` that uv reads where that is a member of a workspace: also its lock."""
    around = [folder for folder in source.parents if folder.is_relative_to(export)]
    files = [folder / name for folder in around for name in ("pyproject.toml", "uv.lock")]
    return [file for file in files if file.is_file()]


def has_sources(source: Path) -> bool:
    """Return True when pyproject.toml makes uv take packages from the repository itself."""
    uv = get_table(get_table(read_project(source), "tool"), "uv")
    tables = [*get_table(uv, "sources").values()]
    tables += [each for value in tables if isinstance(value, list) for each in value]
    return "workspace" in uv or any(
        isinstance(each, dict) and {"path", "workspace", "editable"} & each.keys() for each in tables
    )
