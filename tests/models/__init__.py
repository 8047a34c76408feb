"""Small model repositories in the plain interface: files by name, for `tests.harness.repositories`.

`files()` builds one out of the bodies of the four methods; `working` and `faulty` hold those with a name.
"""

from textwrap import dedent, indent

TRAIN = """
    print("training on", len(train_data), "rows")
    return pickle.dumps(float(train_data["visits"].mean()))
"""
EVALUATE = """
    return {"SMAPE": 0.25, "rows": len(test_data)}
"""
PREDICT = """
    return [pickle.loads(model)] * int(features)
"""
INFO = """
    return {
        "Name": "Mean",
        "Type": "Time series regressor",
        "Evaluation metric": "SMAPE",
        "Description": "Says the mean of what it saw, once for each day that is asked for.",
    }
"""
TRAIN_CSV = "day,visits\n2026-01-01,10\n2026-01-02,20\n2026-01-03,30\n"
TEST_CSV = "day,visits\n2026-01-04,20\n2026-01-05,25\n"

SIGNATURES = {
    "train": "train(self, train_data)",
    "evaluate": "evaluate(self, model, test_data)",
    "predict": "predict(self, model, features)",
    "info": "info(self)",
}


def files(
    *,
    head: str = "",
    train: str | None = TRAIN,
    evaluate: str | None = EVALUATE,
    predict: str | None = PREDICT,
    info: str | None = INFO,
) -> dict[str, str]:
    """A repository whose methods have these bodies (None: the method is missing), `head` above the class.

    Standard library only, and no requirements: it runs in the appliance's default environment.
    """
    bodies = {"train": train, "evaluate": evaluate, "predict": predict, "info": info}
    methods = [method(SIGNATURES[name], body) for name, body in bodies.items() if body is not None]
    return {
        "main.py": "import pickle\n"
        + dedent(head)
        + "\n\nclass EntryPoint:\n"
        + "\n".join(methods or ["    pass\n"])
        + "\n\nentry_point = EntryPoint()\n",
        "data/train.csv": TRAIN_CSV,
        "data/test.csv": TEST_CSV,
    }


def method(signature: str, body: str) -> str:
    return f"    def {signature}:\n" + indent(dedent(body).strip("\n"), " " * 8) + "\n"
