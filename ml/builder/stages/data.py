"""The stage `data`: the training and test sets, which do not change for this release any more."""

from dataclasses import dataclass

from db.models import StageName
from ml.builder.context import BuildContext
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.result import StageResult
from ml.sources import datasets
from ml.sources.datasets import DataSet
from ml.stage_log import LogLine


@dataclass(frozen=True, kw_only=True)
class DataResult(StageResult):
    train: DataSet
    test: DataSet


def run(context: BuildContext, checkout: CheckoutResult, log_line: LogLine) -> DataResult:
    found = datasets.fetch_datasets(
        checkout.manifest.data,
        checkout.source,
        datasets.data_sources(context.settings, context.model.name),
        output=context.folder / "data",
        log=context.log_path(StageName.DATA),
    )
    return DataResult(train=found.train, test=found.test, facts={"data": found.to_metadata()})
