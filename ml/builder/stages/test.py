"""The stage `test`: the repository's own tests, before anything is trained."""

from db.models import StageName
from ml.builder import repository_tests
from ml.builder.context import BuildContext
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.environment import EnvironmentResult
from ml.builder.stages.result import StageResult
from ml.stage_log import LogLine


def run(
    context: BuildContext, checkout: CheckoutResult, environment: EnvironmentResult, log_line: LogLine
) -> StageResult:
    command = checkout.manifest.test.command
    assert command is not None
    with repository_tests.open_tests(context, checkout, environment, StageName.TEST) as runtime:
        repository_tests.run_tests(context, StageName.TEST, command, runtime, log_line=log_line)
    return StageResult()
