"""The folders of SLIPWAY_DATA that a model's data may lie in."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import RejectedError

SHARED_FOLDER = "shared"  # the folder in SLIPWAY_DATA that all models may read


@dataclass(frozen=True)
class DataFolders:
    """The folders of the appliance that one model's data may lie in."""

    root: Path  # SLIPWAY_DATA
    own: Path  # the model's folder in it
    readable: tuple[Path, ...]

    def resolve_readable(self, path: Path, named: str) -> Path:
        """Return the location of `path` once links are followed.

        Raises `RejectedError` when that is in no readable folder: a link is followed with our rights.
        """
        real = path.resolve()
        if any(real.is_relative_to(folder.resolve()) for folder in self.readable):
            return real
        if path.is_relative_to(self.root) and real != path.parent.resolve() / path.name:
            raise RejectedError(f"{named} is a link out of the model's folders for data: {self.advice}")
        if path.is_relative_to(self.root):
            raise RejectedError(f"{named} is not in a folder for this model's data: {self.advice}")
        raise RejectedError(
            f"{named} is not in {self.own}: of the appliance's own files, a model may use those in its "
            "folder for data (SLIPWAY_DATA)"
        )

    @property
    def advice(self) -> str:
        return (
            f"put it in {self.own}, or in {self.root / SHARED_FOLDER} for all models, or name its folder "
            "in the model's section of models.toml, as data = [...]"
        )
