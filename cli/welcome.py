"""What a person reads when the appliance runs: where to look, and what to try."""

import os
import sys
from pathlib import Path

from cli import tracking
from cli.settings import Settings
from common import token

PLACES = """\
Slipway runs. Ctrl-C ends all of it.

  the live model       {serve}
  a prediction         {serve}/predict
  look for merges now  curl -X POST {vcs}/checkout
  how it stands        {slipway} status
"""

MLFLOW = """\
  its runs in MLflow   {mlflow}
"""

OWN_MLFLOW = """\
                       user operator, password in {password}
"""

SIGN_IN = """\
  sign in as operator  {serve}/sign-in?token={token}
                       shown once; the token is kept in {kept}
"""

DEMO = """
This is the demo: a stand-in for GitHub and a model of made-up visits, both on this machine.
{soon}
  merge a pull request {slipway} demo merge
  your own repository  SLIPWAY_REPOSITORY=owner/name GITHUB_TOKEN=… SLIPWAY_HOME=.slipway-own make up
"""

REPOSITORY = """
It follows {followed}.
"""


def welcome(settings: Settings, folder: Path, made: str | None = None) -> str:
    """`made` is the operators' token, when this start has made it."""
    names = [name for name in ("SLIPWAY_HOME", "VCS_PORT", "ML_PORT") if name in os.environ]
    command = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "slipway" else "slipway"
    mlflow = (MLFLOW if settings.mlflow_url else "") + (OWN_MLFLOW if settings.own_mlflow else "")
    sign_in = SIGN_IN if made else ""
    return (PLACES + mlflow + sign_in + (REPOSITORY if settings.followed else DEMO)).format(
        soon="Its first release is live in a minute.\n" if made else "",
        mlflow=settings.mlflow_url,
        password=short(tracking.password_file(folder)),
        token=made,
        kept=short(token.path(folder)),
        serve=settings.serve_url,
        vcs=settings.vcs_url,
        slipway=" ".join([*(f"{name}={os.environ[name]}" for name in names), command]),
        followed=" and ".join(f"{it.repository}, branch {it.branch}" for it in settings.followed.values()),
    )


def short(path: Path) -> Path:
    """As it is called from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
