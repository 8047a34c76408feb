"""The build context of one release: the values that every stage gets."""

from dataclasses import dataclass
from pathlib import Path

from db.models import Release, StageName
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig


@dataclass(frozen=True)
class JudgedChange:
    """A merge, push or tag that was judged: by the gate, or before it."""

    release: Release
    is_live: bool


@dataclass(frozen=True)
class BuildContext:
    """The inputs of a build; `parent` is the release of a warm start, `last` the change judged before it."""

    settings: MlSettings
    model: ModelConfig
    release: Release
    parent: Release | None = None
    last: JudgedChange | None = None

    @property
    def home(self) -> HomeLayout:
        return HomeLayout(self.settings.home.absolute())

    @property
    def folder(self) -> Path:
        return self.home.release_path(self.release.id)

    def log_path(self, stage: StageName) -> Path:
        return self.home.log_path(self.release.id, stage)
