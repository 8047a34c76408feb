"""The pipeline that takes one release through the stages: `python -m ml.builder.pipeline RELEASE`."""

from common.system.spare_child import read_arguments
from db.claims import Finished
from db.models import StageName
from db.states import Status, Trigger
from ml.builder import build
from ml.builder.context import BuildContext
from ml.builder.outcomes import BuildOutcome
from ml.builder.progress import StageRunner
from ml.builder.reuse import ReuseCheck, reuse_nothing
from ml.builder.stages import after_train, checkout, data, deploy, environment, evaluate, gate, test, train
from ml.builder.stages.data import OpenRecorded, open_nothing
from ml.builder.stages.gate import ReadGateInputs
from ml.builder.stages.train import OpenLogTarget

UNTAGGED = 'a tag v* releases it, not the {} ([release] on = "tag")'


def run_stages(
    context: BuildContext,
    stages: StageRunner,
    read_gate_inputs: ReadGateInputs,
    open_log_target: OpenLogTarget,
    reuse_check: ReuseCheck = reuse_nothing,
    *,
    open_recorded: OpenRecorded = open_nothing,
) -> BuildOutcome:
    """Run every stage in order; a stage that finished before a crash returns what it returned then."""
    run = stages.run_stage
    source = run(StageName.CHECKOUT, checkout.run, context)
    if source.untouched:
        return Finished(Status.UNTOUCHED, source.untouched)
    if source.needs_tag:
        return Finished(Status.SUPERSEDED, UNTAGGED.format(context.release.trigger))
    runtime = run(StageName.ENVIRONMENT, environment.run, context, source)
    if source.manifest.test.command:
        run(StageName.TEST, test.run, context, source, runtime)
    if withheld := data.find_withheld(context, source):
        return Finished(Status.CHECKED, withheld)
    datasets = run(StageName.DATA, data.run, context, source, open_recorded)
    trained = run(
        StageName.TRAIN, train.run, context, source, runtime, datasets, open_log_target, reuse_check
    )
    scored = run(StageName.EVALUATE, evaluate.run, context, source, datasets, trained)
    if source.manifest.test.after_train:
        run(
            StageName.AFTER_TRAIN,
            after_train.run,
            context,
            source,
            runtime,
            datasets,
            trained,
            read_gate_inputs,
        )
    judged = run(StageName.GATE, gate.run, context, source, datasets, trained, scored, read_gate_inputs)
    if context.release.trigger is Trigger.CHECK:
        return Finished(Status.CHECKED, "; ".join(judged.unjudged))
    return run(StageName.DEPLOY, deploy.run, context, source, judged).outcome


if __name__ == "__main__":
    build.main(int(read_arguments()[0]), run_stages)
