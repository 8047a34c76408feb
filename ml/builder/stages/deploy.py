"""The stage `deploy`: the decision, recorded together with the outcome of the release."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.claims import Deployed, Finished
from db.deployments import DeploymentSnapshot
from db.states import Status
from ml.builder.context import BuildContext
from ml.builder.outcomes import describe_outcome
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.gate import GateResult
from ml.builder.stages.result import StageResult
from ml.manifest import ReleaseSection
from ml.stage_log import LogLine


@dataclass(frozen=True, kw_only=True)
class DeployResult(StageResult):
    outcome: Deployed | Finished


def run(
    context: BuildContext, checkout: CheckoutResult, judged: GateResult, log_line: LogLine
) -> DeployResult:
    outcome = decide(judged.snapshot, checkout.manifest.release, judged.unjudged)
    log_line(describe_outcome(outcome))
    return DeployResult(outcome=outcome)


def decide(
    seen: DeploymentSnapshot, section: ReleaseSection, unjudged: Sequence[str] = ()
) -> Deployed | Finished:
    """Decide to deploy, on condition that the gate's snapshot still holds, or leave the decision to a person.

    `unjudged` lists what the gate could not compare.
    """
    if unjudged:
        return Finished(
            Status.PASSED, f"it waits for an operator: no rule is broken, but {'; '.join(unjudged)}"
        )
    if section.promote == "manual":
        reason = 'it passed the gate and waits to be deployed ([release] promote = "manual")'
        return Finished(Status.PASSED, reason)
    return Deployed(seen)
