"""What an appliance follows: one repository by the environment, or several models by `models.toml`."""

import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.settings import Settings

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REPOSITORY = r"^[\w.-]+/[\w.-]+$"
# as `git check-ref-format` has it, and never an option
BRANCH = re.compile(r"(?![-/.])(?!.*(\.\.|//|/\.|@\{))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])(?<!\.lock)")
ADDRESS = re.compile(r"(https?|ssh|git|file)://\S+|/\S+|(?!-)[\w.-]+@[\w.-]+:\S+")


def branch(name: str) -> str:
    if not BRANCH.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a branch")
    return name


def address(url: str) -> str:
    if url and not ADDRESS.fullmatch(url):
        raise ValueError(f"{url!r} is not an address that git clones from, as https://…, ssh://… or file://…")
    return url


def folder(name: str) -> str:
    if not name or "\0" in name or ".." in Path(name).parts:
        raise ValueError(f"{name!r} is not a folder in SLIPWAY_DATA, nor a path that begins with /")
    return name


Branch = Annotated[str, AfterValidator(branch)]
Address = Annotated[str, AfterValidator(address)]


class Followed(BaseModel):
    """One model: one branch of one repository, and what the operator says of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(pattern=REPOSITORY)  # owner/name on GitHub
    branch: Branch = "main"
    clone_url: Address = ""
    gate: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    data: list[Annotated[str, AfterValidator(folder)]] = []  # folders that it may read beside its own


ENTRIES = TypeAdapter(dict[str, Followed])


class Following(Settings):
    """The settings that say what is followed; services of either side add their own."""

    repository: str = Field("", validation_alias="SLIPWAY_REPOSITORY", pattern=rf"^$|{REPOSITORY}")
    branch: Branch = Field("main", validation_alias="SLIPWAY_BRANCH")
    clone_url: Address = Field("", validation_alias="SLIPWAY_CLONE_URL")
    models_file: Path = Field(Path("models.toml"), validation_alias="SLIPWAY_MODELS")

    @cached_property
    def followed(self) -> dict[str, Followed]:
        """By the model's name; empty when nothing is named. Read once: a change takes a new start."""
        entries = self.listed()
        if entries and self.repository:
            raise SystemExit(
                f"SLIPWAY_REPOSITORY is set and {self.models_file} is there: "
                "take one of them away, it says on its own what is followed"
            )
        if not entries and self.repository:
            only = Followed(repository=self.repository, branch=self.branch, clone_url=self.clone_url)
            return {model_name(self.repository): only}
        return entries

    def listed(self) -> dict[str, Followed]:
        """What the file says, nothing when there is none; ends the process with one line when it is wrong."""
        if not self.models_file.is_file():
            if "models_file" in self.model_fields_set and not self.models_file.exists():
                raise SystemExit(f"SLIPWAY_MODELS names {self.models_file}, which is not there")
            return {}
        try:
            entries = ENTRIES.validate_python(tomllib.loads(self.models_file.read_text()))
        except ValidationError as error:
            raise SystemExit(f"{self.models_file}: {told(error)}") from error
        except (OSError, ValueError) as error:  # not to be read, not TOML, not UTF-8
            raise SystemExit(f"{self.models_file} cannot be read: {error}") from error
        for name in entries:
            if not NAME.fullmatch(name):
                raise SystemExit(
                    f"{self.models_file}: [{name}] stands in addresses and folders: it has to be of lower "
                    "case letters, digits, '.', '_' and '-', at most 63, and begin with a letter or digit"
                )
        if not entries:
            raise SystemExit(f"{self.models_file} names no model: give it a section, or take it away")
        return entries


def model_name(repository: str) -> str:
    """The repository's own name, in lower case, fit for addresses and folders."""
    return re.sub(r"[^a-z0-9._-]", "-", repository.rsplit("/", 1)[-1].lower()).strip(".") or "model"


def told(error: ValidationError) -> str:
    """Each place in a TOML file and what is wrong there: `gate.SMAPE.max: Input should be a valid number`."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {reason(e['msg'])}" for e in error.errors())


def reason(message: str) -> str:
    """pydantic's words, but for those that a person who writes TOML would not understand."""
    if message == "Extra inputs are not permitted":
        return "is not a key that Slipway knows"
    if message.startswith("Input should be a valid dictionary"):
        return "has to be a table of keys, as { key = value }"
    return message.removeprefix("Value error, ")
