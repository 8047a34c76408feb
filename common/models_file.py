"""The models of an appliance: one repository from the environment, or several models from `models.toml`."""

import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from common.git_login import LOGIN_IN_URL
from common.repository_path import check_repository_path
from common.settings import Settings

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
GITHUB_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# a repository's page, or the address under its "Code" button: with a host
PASTED_URL = re.compile(
    r"(?:https?://|ssh://|git://)?(?:[^@/\s]*@)?([\w-]+(?:\.[\w-]+)+)(?::\d+)?[/:]([^/\s]+/[^/\s?#]+).*"
)
# the rules of `git check-ref-format`; never an option
BRANCH_NAME = re.compile(r"(?![-/.])(?!.*(\.\.|//|/\.|@\{))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])(?<!\.lock)")
LOCAL_PREFIXES = ("/", "./", "../", "~/")
MAX_PATHS = 50  # of one model, besides its own
GIT_ADDRESS = re.compile(r"(https?|ssh|git|file)://\S+|/\S+|(?!-)[\w.-]+@[\w.-]+:\S+")


def check_branch(name: str) -> str:
    if not BRANCH_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a branch")
    return name


def check_address(url: str) -> str:
    if url and not GIT_ADDRESS.fullmatch(url):
        masked = LOGIN_IN_URL.sub("***@", url)
        raise ValueError(
            f"{masked!r} is not an address that git clones from, as https://…, ssh://… or file://…"
        )
    return Path(url).as_uri() if url.startswith("/") else url


def check_folder(name: str) -> str:
    if not name or "\0" in name or ".." in Path(name).parts:
        raise ValueError(f"{name!r} is not a folder in SLIPWAY_DATA, nor a path that begins with /")
    return name


def parse_repository(text: str) -> str:
    """Return `owner/name` of a pasted GitHub address, or for other hosts the address that git reads.

    Raises ValueError for text that names no repository.
    """
    name = text.strip().strip("\"'<>")
    if name.startswith(LOCAL_PREFIXES):
        return Path(os.path.abspath(Path(name).expanduser())).as_uri()  # noqa: PTH100 (`..` ends here)
    pasted = PASTED_URL.fullmatch(name)
    host = pasted[1] if pasted else name.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if "github" in host.lower():
        name = pasted[2] if pasted else LOGIN_IN_URL.sub("", name)
    elif pasted or "://" in name or GIT_ADDRESS.fullmatch(name):
        plain = name if "://" in name or GIT_ADDRESS.fullmatch(name) else f"https://{name}"
        # GitLab puts that into the pages of a repository
        return check_address(plain.partition("/-/")[0].rstrip("/"))
    name = name.strip("/").removesuffix(".git")
    if name and (not GITHUB_REPOSITORY.fullmatch(name) or set(name.split("/")) & {".", ".."}):
        raise ValueError(
            "must be owner/name as in https://github.com/owner/name, "
            f"or an address that git reads, not {name!r}"
        )
    return name


def repository_name(text: str) -> str:
    """Return a repository's name for records and pages, without a login.

    `owner/name` is GitHub's; for other hosts the host precedes the path, and `local` a folder's name.
    """
    if ":" not in text:
        return text
    url = urlsplit(text if "://" in text else f"ssh://{text.replace(':', '/', 1)}")
    parts = [part for part in unquote(url.path).removesuffix("/.git").removesuffix(".git").split("/") if part]
    host = url.hostname or "local"
    parts = parts if url.hostname else parts[-1:]
    return "/".join([host, *(re.sub(r"[^\w.-]", "-", part) for part in parts)])


Branch = Annotated[str, AfterValidator(check_branch)]
RepositoryPath = Annotated[str, AfterValidator(check_repository_path)]
ModelPath = Annotated[str, AfterValidator(lambda name: name and check_repository_path(name))]
Address = Annotated[str, AfterValidator(check_address)]
Repository = Annotated[str, AfterValidator(parse_repository)]  # owner/name on GitHub, or an address; or empty


class ModelEntry(BaseModel):
    """One model: one branch of one repository, and the operator's settings for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Repository = Field(min_length=1)
    branch: Branch = "main"
    clone_url: Address = ""
    path: ModelPath = ""  # the folder of the repository that the model lies in
    paths: list[RepositoryPath] = Field([], max_length=MAX_PATHS)  # what else of the repository it uses
    gate: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    retrain: dict[str, Any] = {}
    record: dict[str, Any] = {}
    data: list[Annotated[str, AfterValidator(check_folder)]] = []  # folders that it may read besides its own
    recorded: StrictBool = False  # whether it may be trained on what its users sent

    @model_validator(mode="after")
    def check_paths(self) -> Self:
        if self.paths and not self.path:
            raise ValueError("paths needs path, the folder that the model lies in")
        return self

    @property
    def name(self) -> str:
        return repository_name(self.repository)

    @property
    def git_address(self) -> str:
        """Return git's address of a repository that is not on GitHub; empty when it is."""
        return self.repository if ":" in self.repository else ""


MODEL_ENTRIES = TypeAdapter(dict[str, ModelEntry])


class SourceSettings(Settings):
    """The settings that name the followed models; each service adds its own."""

    repository: Repository = Field("", validation_alias="SLIPWAY_REPOSITORY")
    branch: Branch = Field("main", validation_alias="SLIPWAY_BRANCH")
    clone_url: Address = Field("", validation_alias="SLIPWAY_CLONE_URL")
    models_file: Path = Field(Path("models.toml"), validation_alias="SLIPWAY_MODELS")

    @cached_property
    def model_entries(self) -> dict[str, ModelEntry]:
        """Return entries by model name; empty when none is set. Read once: a change takes a restart."""
        entries = self.read_models_file()
        if entries and self.repository:
            raise SystemExit(
                f"SLIPWAY_REPOSITORY is set and {self.models_file} is there: "
                "remove one of them, as each names the models to follow"
            )
        if not entries and self.repository:
            only = ModelEntry(repository=self.repository, branch=self.branch, clone_url=self.clone_url)
            return {model_name(only.name): only}
        return entries

    def read_models_file(self) -> dict[str, ModelEntry]:
        """Return the file's entries, none when there is no file; exit with one line when it is invalid."""
        if not self.models_file.is_file():
            if "models_file" in self.model_fields_set and not self.models_file.exists():
                raise SystemExit(f"SLIPWAY_MODELS names {self.models_file}, which is not there")
            return {}
        try:
            entries = MODEL_ENTRIES.validate_python(tomllib.loads(self.models_file.read_text()))
        except ValidationError as error:
            raise SystemExit(f"{self.models_file}: {format_errors(error)}") from error
        except (OSError, ValueError) as error:  # unreadable, not TOML, not UTF-8
            raise SystemExit(f"{self.models_file} cannot be read: {error}") from error
        for name in entries:
            if not MODEL_NAME.fullmatch(name):
                raise SystemExit(
                    f"{self.models_file}: [{name}] names addresses and folders: use at most 63 lower case "
                    "letters, digits, '.', '_' and '-', and begin with a letter or digit"
                )
        if not entries:
            raise SystemExit(f"{self.models_file} names no model: add a section, or remove the file")
        addresses: dict[str, str] = {}
        for name, entry in entries.items():
            if addresses.setdefault(entry.name, entry.repository) != entry.repository:
                raise SystemExit(
                    f"{self.models_file}: [{name}] has another address than a model before it, and both are "
                    f"called {entry.name}: write one address, or rename a folder"
                )
        return entries


def model_name(repository: str) -> str:
    """Return the repository's own name in lower case, as a `MODEL_NAME`: valid in addresses and commands."""
    name = re.sub(r"[^a-z0-9._-]", "-", repository.rsplit("/", 1)[-1].lower())
    return name.lstrip("._-")[:63].rstrip(".") or "model"


def format_errors(error: ValidationError) -> str:
    """Return each location in a TOML file and its error: `gate.SMAPE.max: Input should be a valid number`."""
    places = [".".join(map(str, one["loc"])) for one in error.errors()]
    texts = [reword_message(one["msg"]) for one in error.errors()]
    return "; ".join(f"{at}: {text}" if at else text for at, text in zip(places, texts, strict=True))


def reword_message(message: str) -> str:
    """Return pydantic's message, reworded where a person who writes TOML would not understand it."""
    if message == "Extra inputs are not permitted":
        return "is not a known key"
    if message.startswith("Input should be a valid dictionary"):
        return "has to be a table of keys, as { key = value }"
    return message.removeprefix("Value error, ")
