"""LitServe with batching: `python lit.py PORT`. FOREST names the pickle."""

import os
import pickle
import sys
from pathlib import Path

import litserve


class Forest(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.forest = pickle.loads(Path(os.environ["FOREST"]).read_bytes())

    def decode_request(self, request: dict) -> list[float]:
        return request["x"]

    def batch(self, inputs: list) -> list:
        return list(inputs)

    def predict(self, x: list) -> list[float]:
        return [float(value) for value in self.forest.predict(x)]

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: float) -> dict:
        return {"y": output}


if __name__ == "__main__":
    api = Forest(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
