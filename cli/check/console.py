"""The stages of a check, shown on the terminal as they run."""

from collections.abc import Callable
from time import monotonic
from typing import TypeVar, TypeVarTuple

from cli import terminal
from db.models import StageName
from ml import stage_log
from ml.builder.context import BuildContext
from ml.builder.stages.result import StageResult
from ml.stage_log import LogLine

Inputs = TypeVarTuple("Inputs")
SomeResult = TypeVar("SomeResult", bound=StageResult)


class ConsoleStages:
    """A runner of stages that needs no database: the release in memory gets their facts.

    `stage` is the last one that began.
    """

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self.stage = StageName.CHECKOUT

    def run_stage(
        self, name: StageName, run: Callable[[*Inputs, LogLine], SomeResult], *inputs: *Inputs
    ) -> SomeResult:
        """Run a stage and show its log lines; raises what the stage raised, or its failure."""
        self.stage, begun = name, monotonic()
        is_shown = name is not StageName.DEPLOY  # a check deploys nothing
        write_line = stage_log.stage_logger(self._context.log_path(name))

        def log_line(text: str) -> None:
            write_line(text)
            if is_shown:
                terminal.print_text(f"  {text}")

        if is_shown:
            terminal.print_text(name)
        result = run(*inputs, log_line)
        for column, value in result.facts.items():
            setattr(self._context.release, column, value)
        if result.failure is not None:
            raise result.failure
        log_line(f"done in {monotonic() - begun:.1f} s")
        return result
