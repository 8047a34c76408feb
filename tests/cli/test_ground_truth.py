"""An operator imports a file of ground truth: in batches, safe to repeat, with bad lines named."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.ground_truth_file import CsvTable, JsonLines, Line, split_batches
from tests.cli.test_operate import EVIL, Slipway, slipway  # noqa: F401 (a fixture)
from tests.ml.conftest import shared_home  # noqa: F401 (a fixture)
from tests.ml.serving.conftest import make_shop, shop  # noqa: F401 (fixtures)
from tests.ml.serving.ground_truth.test_stored import recorded, values
from tests.ml.serving.support import Shop, main_py


def run(slipway: Slipway, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    return slipway("ground-truth", "import", *arguments, **more)


def totals(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The counts that are printed last."""
    lines = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("line ")]
    return dict(map(tuple, lines))


def as_lines(*items: Any) -> str:
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)


def test_a_table_is_imported_and_again(shop: Shop, slipway: Slipway, tmp_path: Path) -> None:  # noqa: F811
    shop.publish(main_py("return 1"), kind="regression")
    calls = [recorded(shop) for _ in range(3)]
    file = tmp_path / "truth.csv"
    file.write_text("prediction,value\n" + "".join(f"{call},{at}.5\n" for at, call in enumerate(calls)))

    first, second = run(slipway, str(file)), run(slipway, str(file), "--model", "web-traffic")

    assert (first.returncode, totals(first)) == (0, {"stored": "3"})
    assert (second.returncode, totals(second)) == (0, {"stored": "3", "unchanged": "3"})
    assert [one.value for one in values(shop)] == [0.5, 1.5, 2.5]


def test_lines_that_are_refused_are_named(shop: Shop, slipway: Slipway, tmp_path: Path) -> None:  # noqa: F811
    shop.publish(main_py("return 1"), kind="regression")
    call = recorded(shop)
    file = tmp_path / "truth.jsonl"
    file.write_text(
        as_lines(
            {"prediction": call, "value": 1},
            "no JSON" + EVIL,
            "",
            {"prediction": call, "value": "two"},
            {"prediction": "forged", "value": 1},
            '{"prediction": "x", "value": NaN}',
            "[" * 100_000,
            "1",
            '{"prediction": "' + "x" * 1_100_000 + '", "value": 1}',
            '{"prediction": "\\ud800", "value": 1}',
            '{"prediction": "deep", "value": ' + "[" * 900 + "]" * 900 + "}",
            {"prediction": call, "value": 2},
        )
    )

    done = run(slipway, str(file))

    named = [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("line ")]
    assert sorted(named, key=lambda text: int(text[5:])) == [
        f"line {number}" for number in (2, 4, 5, 6, 7, 8, 9, 10, 11)
    ]
    assert "line 4: value has to be a finite number" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.returncode == 1
    assert totals(done) == {"stored": "2", "unknown": "1", "invalid": "8", "replaced": "1"}
    assert [one.value for one in values(shop)] == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        ("truth.txt", "", "--format csv or jsonl"),
        ("truth.csv", "id,value\nx,1\n", "Its first line has to be prediction,value"),
        ("truth.csv", 'prediction,value\n"x,1\n', "line 3 is no CSV"),
        ("gone.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_explained(
    shop: Shop,  # noqa: F811
    slipway: Slipway,  # noqa: F811
    tmp_path: Path,
    wrong: tuple[str, str | None, str],
) -> None:
    name, text, said = wrong
    if text is not None:
        (tmp_path / name).write_text(text)
    done = run(slipway, str(tmp_path / name))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert ".." not in done.stderr.replace(str(tmp_path), "")


def test_an_import_that_ends_early_names_the_line(slipway: Slipway, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "truth.jsonl").write_text(as_lines({"prediction": "x", "value": 1}))
    done = run(slipway, "truth.jsonl", "--model", "m", SLIPWAY_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "nothing answers" in done.stderr
    assert "It ended after line 0: run it again" in done.stderr


def test_batches_are_bounded_in_items_and_bytes() -> None:
    lines = [Line(number, b"x" * 10) for number in range(25_000)]
    assert [len(batch) for batch in split_batches(lines)] == [10_000, 10_000, 5_000]
    large = [Line(number, b"x" * (1 << 20)) for number in range(7)]
    assert [len(batch) for batch in split_batches(large)] == [3, 3, 1]


def test_a_long_line_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * 5_000_000 + b"\n{}\n")
    with path.open("rb") as file:
        first, second = JsonLines().read(file)
    assert (len(first.text), first.number, first.fault) == ((1 << 20) + 1, 1, "is longer than 1 MiB")
    assert (second.text, second.number, second.fault) == (b"{}", 2, None)


def test_lines_of_a_table_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b'\xef\xbb\xbfprediction,value\r\n\r\n"a\nb",1\r\nc,"2,3"\n')
    table = CsvTable()
    with path.open("rb") as file:
        lines = list(table.read(file))
    assert [line.number for line in lines] == [4, 5]
    assert table.join_lines(lines) == b'prediction,value\n"a\nb",1\nc,"2,3"\n'
