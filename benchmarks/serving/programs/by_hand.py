"""A server written by hand: FastAPI with the model in its process. FOREST names the pickle."""

import os
import pickle
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

forest = pickle.loads(Path(os.environ["FOREST"]).read_bytes())
app = FastAPI()


class Features(BaseModel):
    x: list[float]


class Prediction(BaseModel):
    y: float


@app.post("/predict")
async def predict(features: Features) -> Prediction:  # on the loop: quicker than a thread for each request
    return Prediction(y=float(forest.predict([features.x])[0]))
