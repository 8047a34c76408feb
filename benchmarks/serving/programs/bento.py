"""BentoML with adaptive batching; logs, metrics and traces off. FOREST names the pickle."""

import os
import pickle
from pathlib import Path

import bentoml


@bentoml.service(
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"sample_rate": 0.0},
)
class Forest:
    def __init__(self) -> None:
        self.forest = pickle.loads(Path(os.environ["FOREST"]).read_bytes())

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    async def predict(self, x: list[list[float]]) -> list[float]:
        return [float(value) for value in self.forest.predict(x)]
