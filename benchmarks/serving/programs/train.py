"""The script that trains a forest in the environment that serves it: `python train.py TREES PATH`."""

import pickle
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestRegressor

generator = np.random.default_rng(0)
x = generator.random((600, 5))
y = 10 * x[:, 0] + 5 * x[:, 1] ** 2 + x[:, 2] * x[:, 3] + 0.1 * generator.standard_normal(600)
forest = RandomForestRegressor(n_estimators=int(sys.argv[1]), n_jobs=1, random_state=0).fit(x, y)
Path(sys.argv[2]).write_bytes(pickle.dumps(forest))
