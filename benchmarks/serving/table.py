"""The table of bursts, with each server's ratio to the base of the same round, so that noise cancels out."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.wrk import Burst


@dataclass(frozen=True)
class Measured:
    """One burst of a server in a round; `cpu` is the CPU time of its processes in seconds."""

    server: str
    connections: int
    round: int
    burst: Burst
    cpu: float


def ratios(
    measured: Sequence[Measured], server: str, base: str, connections: int, of: Callable[[Measured], float]
) -> list[float]:
    """Return the ratio of each round in which both were measured."""
    found = {(m.server, m.round): of(m) for m in measured if m.connections == connections}
    rounds = sorted({number for name, number in found if name == server})
    return [found[server, n] / found[base, n] for n in rounds if found.get((base, n))]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return (values[0],) * 3 if values else (float("nan"),) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def rows(
    measured: Sequence[Measured], titles: dict[str, str], base: str, connections: int
) -> list[tuple[str, ...]]:
    """Return a row for each server: throughput and its ratio, p50 and its ratio, p99, CPU, failures."""
    found: list[tuple[str, ...]] = []
    for name, title in titles.items():
        own = [m for m in measured if (m.server, m.connections) == (name, connections)]
        if not own:
            continue
        low, middle, high = quartiles(ratios(measured, name, base, connections, lambda m: m.burst.per_second))
        slower = quartiles(ratios(measured, name, base, connections, lambda m: m.burst.p50))[1]
        bursts = [m.burst for m in own]
        per_second = statistics.median(burst.per_second for burst in bursts)
        p50, p99 = (statistics.median(getattr(burst, name) for burst in bursts) for name in ("p50", "p99"))
        cpu = sum(m.cpu for m in own) / max(1, sum(m.burst.requests for m in own))
        found.append(
            (
                title,
                f"{per_second:,.0f}",
                f"{middle:.2f} ({low:.2f}–{high:.2f})",
                f"{p50:.2f}",
                f"{slower:.2f}",
                f"{p99:.2f}",
                f"{1000 * cpu:.3f}",
                str(sum(m.burst.failed for m in own)),
            )
        )
    return found


HEAD = ("", "requests/s", "ratio (quartiles)", "p50 ms", "its ratio", "p99 ms", "CPU ms a request", "failed")


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:" for _ in head[1:]]], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
