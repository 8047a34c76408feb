"""The command `slipway ground-truth import`: the true values of predictions, from a file of any size."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import httpx
import typer

from cli import client, terminal
from cli.errors import UserError
from cli.ground_truth_file import BatchFormat, CsvTable, JsonLines, Line, split_batches
from cli.operator_client import Document, OperatorClient
from cli.settings import CliSettings

CALL_SECONDS = 120.0  # for a batch
NAMED_LINES = 1000  # that are refused, in what is printed
COUNTS = ("stored", "early", "not_sampled", "unknown", "ambiguous", "invalid", "duplicate")
REFUSED = ("unknown", "ambiguous", "invalid")

app = typer.Typer(help="Store the true values of predictions.", no_args_is_help=True)


@app.callback()
def ground_truth() -> None:
    """Store what turned out to be true of predictions."""


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, or an object of JSON a line; - reads the standard input.")
    ],
    model: Annotated[str | None, typer.Option(help="Needed only when there are several models.")] = None,
    form: Annotated[
        Literal["csv", "jsonl"] | None, typer.Option("--format", help="Without it, by the file's name.")
    ] = None,
) -> None:
    """Store the true values of predictions, in batches.

    The columns are prediction and value, and maybe row, at and source; members of JSON have the same
    names. Safe to repeat. Lines that are refused are named; with one of them the exit code is 1.
    """
    operator = OperatorClient(CliSettings())
    batches: BatchFormat = CsvTable() if (form or guess_format(file)) == "csv" else JsonLines()
    importer = Importer(operator, operator.choose_model(model), batches)
    try:
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as opened:
            for batch in split_batches(batches.read(opened)):
                importer.send(batch)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{str(error).removesuffix('.')}. {importer.explain_rest()}") from error
    terminal.print_text(importer.format_totals())
    if any(importer.counts[name] for name in REFUSED):
        raise typer.Exit(1)


def guess_format(file: Path) -> str:
    if file.suffix.lower() in (".csv", ".jsonl", ".ndjson"):
        return "csv" if file.suffix.lower() == ".csv" else "jsonl"
    raise UserError(f"{file} is named neither .csv nor .jsonl: name its format by --format csv or jsonl")


class Importer:
    """Sends batches, counts what became of them, and names lines that were refused."""

    def __init__(self, operator: OperatorClient, model: str, batches: BatchFormat) -> None:
        self._operator, self._batches = operator, batches
        self._path = f"/models/{model}/ground-truth?invalid=skip&problems=10000"
        self.counts: Counter[str] = Counter()
        self._last_line = 0
        self._named = 0

    def send(self, batch: Sequence[Line]) -> None:
        """Send a batch, without lines that are none; raises `UserError`."""
        for line in batch:
            if line.fault:
                self._refuse_line(line, line.fault)
        self._post_lines([line for line in batch if not line.fault])
        self._last_line = batch[-1].number
        if sys.stderr.isatty():
            typer.echo(f"\r{self._last_line:,} lines", err=True, nl=False)

    def _post_lines(self, lines: Sequence[Line]) -> None:
        """Post lines; where the body as a whole is refused, each half, until the line at fault is found."""
        if not lines:
            return
        answer = self._operator.post_content(
            self._path, self._batches.join_lines(lines), self._batches.content_type, CALL_SECONDS
        )
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE):
            if len(lines) == 1:
                self._refuse_line(lines[0], client.error_detail(answer))
                return
            middle = len(lines) // 2
            self._post_lines(lines[:middle])
            self._post_lines(lines[middle:])
        elif answer.is_error:
            raise UserError(client.error_detail(answer))
        else:
            self._count_answers(lines, answer.json())

    def _count_answers(self, lines: Sequence[Line], document: Document) -> None:
        for name in (*COUNTS, "replaced", "unchanged"):
            self.counts[name] += document[name]
        for problem in document["problems"]:
            if problem["status"] in REFUSED:
                column = problem["at"].replace(",", ".").partition(".")[2].strip()
                self._name_line(lines[problem["item"]], f"{column} {problem['reason']}".strip())

    def _refuse_line(self, line: Line, reason: str) -> None:
        self.counts["invalid"] += 1
        self._name_line(line, reason)

    def _name_line(self, line: Line, reason: str) -> None:
        self._named += 1
        if self._named <= NAMED_LINES:
            terminal.print_text(f"line {line.number}: {reason}")

    def explain_rest(self) -> str:
        """Return what a person has to know of an import that ended early."""
        return (
            f"It ended after line {self._last_line}: run it again once that is mended, it is safe to repeat"
        )

    def format_totals(self) -> str:
        """Return the counts of all lines; an id that was refused is in no other of them."""
        more = [f"and {self._named - NAMED_LINES} more lines"] if self._named > NAMED_LINES else []
        rows = [
            (name.replace("_", " "), f"{self.counts[name]:,}")
            for name in (*COUNTS, "replaced", "unchanged")
            if self.counts[name] or name == "stored"
        ]
        return "\n".join([*more, client.format_table(rows)])
