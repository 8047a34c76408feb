"""The stage `data`: the training and test sets, which do not change for this release any more."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db.models import StageName
from db.states import Trigger
from ml.builder.context import BuildContext
from ml.builder.reuse import STORED_RESULTS
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.result import StageResult
from ml.manifest import Manifest
from ml.sandbox import rmtree
from ml.sources import datasets
from ml.sources.datasets import DataSet
from ml.sources.recorded.source import RecordedRows
from ml.stage_log import LogLine

WITHHELD = (
    "not trained: it is trained on recorded requests, and no code gets these before it is merged "
    "([data] slipway://recorded)"
)

OpenRecorded = Callable[[Manifest, Path], RecordedRows | None]  # of a manifest and its repository's files


def open_nothing(_manifest: Manifest, _source: Path) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class DataResult(StageResult):
    train: DataSet
    test: DataSet


def find_withheld(context: BuildContext, checkout: CheckoutResult) -> str | None:
    """Return why a check is neither trained nor judged: its code was not merged, and its log is shown."""
    is_check = context.release.trigger is Trigger.CHECK
    return WITHHELD if is_check and checkout.manifest.data.has_recorded else None


def run(
    context: BuildContext, checkout: CheckoutResult, open_recorded: OpenRecorded, log_line: LogLine
) -> DataResult:
    output, recorded = context.folder / "data", open_recorded(checkout.manifest, checkout.source)
    if recorded is not None and datasets.load_previous(output) is None:
        discard_results(context, log_line)
    found = datasets.fetch_datasets(
        checkout.manifest.data,
        checkout.source,
        datasets.data_sources(context.settings, context.model.name, recorded),
        output=output,
        log=context.log_path(StageName.DATA),
    )
    return DataResult(train=found.train, test=found.test, facts={"data": found.to_metadata()})


def discard_results(context: BuildContext, log_line: LogLine) -> None:
    """Remove what an earlier attempt made of rows that were erased since: it is made of the others."""
    for name in STORED_RESULTS:
        if (stored := context.folder / name).exists():
            log_line(f"{name}: made again, as recorded requests were erased meanwhile")
            rmtree.remove_tree(stored)
