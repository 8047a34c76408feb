"""Clients that ask an appliance in every form, and know what the release that an answer names gives alone."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.harness import plain_http
from tests.harness.appliance import Running
from tests.system.upstream import MODEL, Upstream

Row = dict[str, Any]
V1 = f"/v1/models/{MODEL}:predict"
CLIENTS = 6
KEPT = 20  # answers of each release, to be asked for again


@dataclass
class Answers:
    """What clients got so far."""

    rows: int = 0  # that were predicted
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)  # by form and status, 0 without one
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # though nothing was being started again
    releases: dict[int, str] = field(default_factory=dict)  # that were named, and their commits
    lately: dict[int, deque[tuple[Row, Any]]] = field(default_factory=dict)  # by release


class Clients:
    """They ask from `with` to its end; what they get is judged as it comes, and kept in `answers`."""

    def __init__(self, running: Running, upstream: Upstream, seed: int) -> None:
        self.running, self.upstream = running, upstream
        self.answers = Answers()
        self.orders: list[list[int]] = [[] for _ in range(CLIENTS)]  # the releases that each has met, in turn
        self._upsets = 0  # odd while what predicts is being started again
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n, seed)) for n in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def upset(self) -> Iterator[None]:
        """What is asked meanwhile may get no answer; it gets no wrong one."""
        self._upsets += 1
        yield
        self._upsets += 1

    def _ask(self, client: int, seed: int) -> None:
        chance, number = random.Random(f"{seed} {client}"), 0
        while not self._over.is_set():
            with plain_http.Client(base_url=f"http://127.0.0.1:{self.running.serve}", timeout=60) as http:
                try:
                    while not self._over.is_set():
                        number += 1
                        self._call(http, client, number, chance)
                        time.sleep(chance.uniform(0, 0.05))
                except httpx.TransportError:
                    time.sleep(0.2)

    def _call(self, http: httpx.Client, client: int, number: int, chance: random.Random) -> None:
        form = chance.choice(("single", "single", "single", "V1", "records", "CSV"))
        rows = [
            {"x": (client * 10**6 + number) * 100 + at, "who": f"client {client}"}
            for at in range(1 if form == "single" else chance.randint(2, 40))
        ]
        is_bad = chance.random() < 1 / 8
        if is_bad:
            bad = chance.choice(rows)
            bad["x"] = -bad["x"]
        before = self._upsets
        try:
            answer = http.request("POST", **request(form, rows))
        except httpx.TransportError as error:
            self._count(form, 0)
            self._fail(before, f"{form}: {error!r}")
            raise
        self._count(form, answer.status_code)
        if answer.status_code == 200:
            self._judge(client, form, rows, is_bad, answer)
        elif not (is_bad and is_the_models_refusal(answer)):
            self._fail(before, f"{form}: {answer.status_code} {answer.text}")

    def _count(self, form: str, status: int) -> None:
        with self._lock:
            self.answers.calls[form, status] += 1

    def _fail(self, before: int, what: str) -> None:
        if before % 2 == 0 and before == self._upsets:
            self.answers.failed.append(what)

    def _judge(self, client: int, form: str, rows: list[Row], is_bad: bool, answer: httpx.Response) -> None:
        said = answer.json()
        got = [said["prediction"]] if form == "single" else said["predictions"]
        merge = self.upstream.merges.get(said["commit"])
        right = None if merge is None or is_bad else [merge.predict(row) for row in rows]
        with self._lock:
            named = self.answers.releases.setdefault(said["release"], said["commit"])
            labelled = named == said["commit"] and answer.headers["X-Slipway-Release"] == str(said["release"])
            if got != right or not labelled:
                self.answers.wrong.append(f"{form} of {rows} got {answer.text}")
            self.answers.rows += len(rows)
            kept = self.answers.lately.setdefault(said["release"], deque(maxlen=KEPT))
            kept.append((rows[0], got[0]))
        if self.orders[client][-1:] != [said["release"]]:
            self.orders[client].append(said["release"])


def request(form: str, rows: list[Row]) -> dict[str, Any]:
    match form:
        case "single":
            return {"url": "/predict", "json": rows[0]}
        case "V1":
            return {"url": V1, "json": {"instances": rows}}
        case "records":
            return {"url": "/invocations", "json": {"dataframe_records": rows}}
    lines = ["x,who", *(f"{row['x']},{row['who']}" for row in rows)]
    return {"url": "/invocations", "content": "\n".join(lines), "headers": {"Content-Type": "text/csv"}}


def is_the_models_refusal(answer: httpx.Response) -> bool:
    return answer.status_code == 500 and "ValueError: x is negative" in answer.json()["detail"]
