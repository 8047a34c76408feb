"""The result that every stage returns: facts to record, and why the release ends there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import RejectedError, UnavailableError


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The result of a stage; each stage adds the values that later stages need.

    `facts` are the columns of the release that it determines. `failure` is raised once they are recorded.
    `is_reused`: a check of the same files found this out.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    is_reused: bool = False
    failure: RejectedError | UnavailableError | None = None
