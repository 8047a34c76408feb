"""Model repositories that the appliance must run as they are."""

from tests.models import INFO, PREDICT, TRAIN, files


def quick(smape: float = 0.25, value: float = 20.0, seconds: float = 0.0) -> dict[str, str]:
    """The smallest useful one: `evaluate` says `smape`, `predict(n)` gives `value` n times.

    It trains for `seconds`. Two calls with other numbers are two commits that differ.
    """
    return files(
        head="import time",
        train=f"print('training on', len(train_data), 'rows')\ntime.sleep({seconds})\n"
        f"return pickle.dumps({value})",
        evaluate=f"return {{'SMAPE': {smape}, 'rows': len(test_data)}}",
    )


def numpy_metrics() -> dict[str, str]:
    """Metrics as numpy scalars of several kinds and an array of none."""
    return files(
        head="import numpy as np",
        evaluate="""
            return {
                "SMAPE": np.float64(0.25),
                "MAE": np.float32(2.5),
                "rows": np.int64(len(test_data)),
                "complete": np.bool_(True),
                "spread": np.array(0.5),
            }
        """,
    )


def dated_predictions() -> dict[str, str]:
    """`list(zip(DatetimeIndex, ndarray))`: pandas Timestamps beside numpy floats, in tuples."""
    return files(
        head="import numpy as np\nimport pandas as pd",
        predict="""
            days = pd.date_range("2026-01-06", periods=int(features), freq="D")
            return list(zip(days, np.full(len(days), pickle.loads(model))))
        """,
    )


def talkative() -> dict[str, str]:
    """Prints everywhere, also past Python's own stdout, and leaves a line unfinished."""
    say = 'print("{0}"); print("{0} again", file=sys.stderr); os.write(1, b"{0} by the back door\\n")\n'
    return files(
        head="import os\nimport sys\n" + say.format("import"),
        train=say.format("train") + TRAIN.replace("\n    ", "\n"),
        predict=say.format("predict") + 'print("no end of line", end="")\n' + PREDICT.replace("\n    ", "\n"),
        info=say.format("info") + INFO.replace("\n    ", "\n"),
    )


def namesakes() -> dict[str, str]:
    """Modules named like ours and like the standard library's beside main.py, imported at once and late.

    Its json.py is a script of theirs that main.py does not import: pandas imports `json` too, and
    must get the standard library's.
    """
    return {
        **files(
            head="import json\n\nimport db\nimport ml.paths\nimport model as forecast\nimport utils",
            train="""
                import ml.late
                assert ml.late.HERE and ml.paths.HERE and db.HERE and utils.HERE
                return forecast.fit(train_data)
            """,
            predict="return json.loads(json.dumps([pickle.loads(model).value] * int(features)))",
        ),
        "model.py": "import pickle\n\n\n"
        "class Mean:\n    def __init__(self, value):\n        self.value = value\n\n\n"
        'def fit(data):\n    return pickle.dumps(Mean(float(data["visits"].mean())))\n',
        "utils.py": "HERE = True\n",
        "db.py": "HERE = True\n",
        "ml/__init__.py": "",
        "ml/paths.py": "HERE = True\n",
        "ml/late.py": "HERE = True\n",
        "json.py": 'print("our own export script")\n',
    }


def html_in_info() -> dict[str, str]:
    """What a page must never take literally, in values, keys and nested ones."""
    return files(
        info="""
            return {
                "Name": "<script>alert('name')</script>",
                "Type": "Time series regressor",
                "Evaluation metric": "SMAPE",
                "Description": "<b>bold</b> & \\"quoted\\" <img src=x onerror=alert(1)>",
                "<i>Key</i>": ["<u>list</u>", {"a": None}],
            }
        """
    )


def own_requirements() -> dict[str, str]:
    """A requirements.txt that asks for more than the default environment has."""
    return {
        **files(head="import packaging.version"),
        "requirements.txt": "pandas\npackaging==26.0\n",
    }


def without_data() -> dict[str, str]:
    """No data in the repository: it must lie in `SLIPWAY_DATA/<model>/`, or the release is rejected."""
    return {name: text for name, text in files().items() if not name.startswith("data/")}


def module_state() -> dict[str, str]:
    """Reads a file of its own by a relative path and keeps state in the module, as scripts do."""
    return {
        **files(
            head="from pathlib import Path\n\n"
            'SCALE = float(Path("settings/scale.txt").read_text())\ncalls = []',
            predict="calls.append(features)\nreturn [pickle.loads(model) * SCALE] * int(features)",
        ),
        "settings/scale.txt": "2\n",
    }


def regressor() -> dict[str, str]:
    """Not a series: features are a dict of numbers, the prediction is one number."""
    return files(
        predict='return pickle.loads(model) + 2.0 * float(features["x"])',
        info='return {"Name": "Line", "Type": "Regressor", "Evaluation metric": "MAE"}',
    )
