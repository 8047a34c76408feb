"""The stage `environment`: the model's virtual environment, locked, and made unless it exists."""

from dataclasses import dataclass

from db.models import StageName
from ml.builder.context import BuildContext
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.result import StageResult
from ml.environments import environments
from ml.runtime.invoke import ModelRuntime
from ml.runtime.materialize import assemble_runtime
from ml.sandbox import sandbox
from ml.stage_log import LogLine


@dataclass(frozen=True, kw_only=True)
class EnvironmentResult(StageResult):
    """The runtime of a release, and the lock that its environment was made from."""

    runtime: ModelRuntime
    lock: str
    python: str  # the interpreter's version


def run(context: BuildContext, checkout: CheckoutResult, log_line: LogLine) -> EnvironmentResult:
    log = context.log_path(StageName.ENVIRONMENT)
    model_sandbox = sandbox.sandbox_for(context.settings, context.model, checkout.manifest.resources)
    locked = environments.resolve_environment(checkout.source, context.home, log, model_sandbox)
    runtime = assemble_runtime(locked, context.home, context.release.id, log, model_sandbox)
    facts = {"environment": locked.key, "lock": locked.lock, "python": locked.python}
    return EnvironmentResult(runtime=runtime, lock=locked.lock, python=locked.python, facts=facts)
