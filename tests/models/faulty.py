"""Model repositories that must end as a rejected release, each with words that its reason should hold."""

from dataclasses import dataclass

from tests.models import files


@dataclass(frozen=True)
class Fault:
    """A repository and what a data scientist must read in the reason (in any case of letters)."""

    files: dict[str, str]
    says: tuple[str, ...]


def without(name: str) -> dict[str, str]:
    return {other: text for other, text in files().items() if other != name}


def with_main(text: str) -> dict[str, str]:
    return {**files(), "main.py": text}


# ends only when it is ended; the child must end with it. Set a short train_timeout in the test.
HANGS = """
    print("looking for the global minimum", flush=True)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    while True:
        time.sleep(1)
"""

SHAPE = {
    "no main.py": Fault(without("main.py"), ("main.py",)),
    "no entry_point": Fault(with_main("x = 1\n"), ("entry_point",)),
    "syntax error": Fault(with_main("def train(:\n"), ("main.py", "SyntaxError")),
    "import error": Fault(with_main("import lightgbm\n\nentry_point = lightgbm\n"), ("lightgbm",)),
    "no train": Fault(files(train=None), ("train",)),
    "no evaluate": Fault(files(evaluate=None), ("evaluate",)),
    "no predict": Fault(files(predict=None), ("predict",)),
    "no info": Fault(files(info=None), ("info",)),
}

TRAIN = {
    "train raises": Fault(files(train="raise ValueError('no visits')"), ("ValueError", "no visits")),
    "train exits": Fault(files(head="import sys", train="sys.exit('not today')"), ("not today",)),
    "train exits well": Fault(files(head="import sys", train="sys.exit(0)"), ("exit",)),
    "train dies": Fault(files(head="import os", train="os._exit(3)"), ("3",)),
    "train dies well": Fault(files(head="import os", train="os._exit(0)"), ("train",)),
    "train is killed": Fault(
        files(head="import os, signal", train="os.kill(os.getpid(), signal.SIGKILL)"), ("train", "kill")
    ),
    "train hangs": Fault(files(head="import subprocess, sys, time", train=HANGS), ("train", "time")),
    "train returns None": Fault(files(train="pass"), ("train", "None", "bytes")),
    "train returns an object": Fault(files(train="return {'mean': 1.0}"), ("train", "dict", "bytes")),
}

EVALUATE = {
    "evaluate raises": Fault(files(evaluate="return {'SMAPE': 1 / 0}"), ("ZeroDivisionError",)),
    "evaluate is NaN": Fault(files(evaluate="return {'SMAPE': float('nan')}"), ("SMAPE", "nan")),
    "evaluate is infinite": Fault(files(evaluate="return {'SMAPE': float('inf')}"), ("SMAPE", "inf")),
    "evaluate is numpy's NaN": Fault(
        files(head="import numpy as np", evaluate="return {'SMAPE': np.float32('nan')}"), ("SMAPE", "nan")
    ),
    "evaluate is no dict": Fault(files(evaluate="return 0.25"), ("evaluate", "dict", "float")),
    "evaluate is None": Fault(files(evaluate="pass"), ("evaluate", "dict", "None")),
    "evaluate is empty": Fault(files(evaluate="return {}"), ("evaluate",)),
    "evaluate is words": Fault(files(evaluate="return {'SMAPE': 'good'}"), ("SMAPE", "good")),
}

ENVIRONMENT = {
    "unknown requirement": Fault(
        {**files(), "requirements.txt": "pandas\nslipway-no-such-package==1.0\n"},
        ("slipway-no-such-package",),
    ),
    "requirements at odds": Fault(
        {**files(), "requirements.txt": "packaging==26.0\npackaging==25.0\n"}, ("packaging",)
    ),
    "requirements not readable": Fault(
        {**files(), "requirements.txt": "pandas >>> 2\n"}, ("requirements.txt",)
    ),
}

DATA = {
    "no data": Fault(
        {name: text for name, text in files().items() if not name.startswith("data/")},
        ("data/train.csv", "SLIPWAY_DATA", "slipway.toml"),
    ),
    "data not readable": Fault({**files(), "data/train.csv": 'a,b\n1,2,3\n"\n'}, ("data/train.csv",)),
}

FAULTS: dict[str, Fault] = {**SHAPE, **TRAIN, **EVALUATE, **ENVIRONMENT, **DATA}

# A release of these may train; it must never be put in front of users.
DEAF = {
    "predict raises": files(predict="raise RuntimeError('not fitted')"),
    "predict is NaN": files(predict="return [float('nan')]"),
    "predict dies": files(head="import os", predict="os._exit(9)"),
    "predict hangs": files(head="import time", predict="time.sleep(3600)"),
    "predict is no JSON": files(predict="return object()"),
}
