"""The welcome text of a running appliance: its addresses, and commands to try."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.settings import CliSettings
from cli.up import mlflow_process
from common.auth import operator_token

ADDRESSES_TEXT = """\
Slipway runs. Ctrl-C ends all of it.

  the live model       {serve}
  a prediction         {serve}/predict
  sync merges now       curl -X POST {vcs}/checkout
  status               {slipway} status
"""

MLFLOW_TEXT = """\
  its runs in MLflow   {mlflow}
"""

OWN_MLFLOW_TEXT = """\
                       user operator, password in {password}
"""

SIGN_IN_TEXT = """\
  sign in as operator  {serve}/sign-in?token={token}
                       shown once; the token is in {kept}
"""

DEMO_TEXT = """
This is the demo: a stand-in for GitHub and a model of made-up visits, both on this machine.
{soon}
  merge a pull request {slipway} demo merge
  your own repository  SLIPWAY_REPOSITORY=owner/name GITHUB_TOKEN=… SLIPWAY_HOME=.slipway-own make up
"""

REPOSITORY_TEXT = """
It follows {followed}.
"""


def format_welcome(
    settings: CliSettings, folder: Path, new_token: str | None = None, pending_installs: Sequence[str] = ()
) -> str:
    """Format the text; `new_token` is the operators' token if this start generated it."""
    home = [f"SLIPWAY_HOME={os.environ['SLIPWAY_HOME']}"] if "SLIPWAY_HOME" in os.environ else []
    command = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "slipway" else "slipway"
    mlflow = (MLFLOW_TEXT if settings.mlflow_url else "") + (
        OWN_MLFLOW_TEXT if settings.has_local_mlflow else ""
    )
    sign_in = SIGN_IN_TEXT if new_token else ""
    follows = REPOSITORY_TEXT if settings.model_entries else DEMO_TEXT
    text = ADDRESSES_TEXT + mlflow + sign_in + follows + "".join(f"\n{line}" for line in pending_installs)
    return text.format(
        soon="Its first release is live in a minute.\n" if new_token else "",
        mlflow=settings.mlflow_url,
        password=shorten_path(mlflow_process.password_file(folder)),
        token=new_token,
        kept=shorten_path(operator_token.token_path(folder)),
        serve=settings.service_addresses["serve"],
        vcs=settings.service_addresses["vcs"],
        slipway=" ".join([*home, command]),
        followed=" and ".join(f"{it.name}, branch {it.branch}" for it in settings.model_entries.values()),
    )


def shorten_path(path: Path) -> Path:
    """Return a path relative to the working directory, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
