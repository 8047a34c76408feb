"""An appliance with a first release: built once, and copied for every other test that begins with it."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from cli.up.postgres import Postgres
from tests.conftest import execute
from tests.harness.repositories import Files
from tests.harness.waiting import wait_until

if TYPE_CHECKING:
    from tests.ml.conftest import Appliance


class FirstRelease:
    """The database, the home and the repository of an appliance, as its first merge left them."""

    def __init__(self, server: Postgres, folder: Path, files: Files) -> None:
        self.server, self.folder, self.files = server, folder, files
        self.database = ""  # as long as nothing is built

    def begin(self, appliance: "Appliance") -> None:
        """Give a new appliance the release; it is as after a restart of the controller."""
        if self.database:
            self.copy_to(appliance)
        else:
            appliance.merge(self.files)
            appliance.settle()
            self.keep(appliance)

    def keep(self, appliance: "Appliance") -> None:
        children = appliance.lookout.daemons
        wait_until(lambda: children.reap_ended() or not children.list_names(), 60, "all children have ended")
        name = disconnect(appliance)
        copy_database(self.server, name, f"first_release_of_{name}")
        for kind, path in folders(appliance).items():
            copy_folder(path, self.folder / kind)
        self.database = f"first_release_of_{name}"

    def copy_to(self, appliance: "Appliance") -> None:
        name = disconnect(appliance)
        execute(self.server, f"DROP DATABASE {name} WITH (FORCE)")
        copy_database(self.server, self.database, name)
        for kind, path in folders(appliance).items():
            shutil.rmtree(path)
            copy_folder(self.folder / kind, path)
        appliance.merged = 1


def disconnect(appliance: "Appliance") -> str:
    """Close the connections to the appliance's database; return its name."""
    for sessions in (appliance.sessions, appliance.lookout.sessions):
        sessions.kw["bind"].dispose()
    return str(make_url(appliance.settings.database_url).database)


def folders(appliance: "Appliance") -> dict[str, Path]:
    return {"home": appliance.settings.home, "repository": appliance.repository.path}


def copy_database(server: Postgres, template: str, name: str) -> None:
    execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder with its owners, which are users of models."""
    subprocess.run(["cp", "--archive", source, target], check=True)
