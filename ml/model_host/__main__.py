"""The command that calls a model from inside its own environment.

    python -I -X utf8 ml/model_host VERB DIRECTORY [FD]

    train     DIRECTORY/input.json  {"source", "entry_point", "data": {"path", "format"}}
              DIRECTORY/artifact    the trained model: the bytes that train() gave
              DIRECTORY/output.json {"result": {"bytes"}} or {"error": {"message", "limit"}}
    evaluate  DIRECTORY/input.json  {"source", "entry_point", "artifact", "data": {"path", "format"}}
              DIRECTORY/output.json {"result": {"metrics", "info", "history"}} or {"error": {…}} as above
    reference_data DIRECTORY/input.json  {"source", "entry_point", "kind", "data": {"path", "format"}}
              DIRECTORY/output.json {"result": {"history"} or {"target"}} or {"error": {"message", "limit"}}
    replay    DIRECTORY/input.json  {"source", "entry_point", "artifact", "rows", "most", "seconds"}
              DIRECTORY/output.json {"result": {"rows", "answers"}} or {"error": {"message", "limit"}}
    drift_rows DIRECTORY/input.json {"source", "entry_point", "artifact", "data", "features", "hidden",
                                    "most", "seconds"}
              DIRECTORY/output.json {"result": {"rows", "predictions"}} or {"error": {"message", "limit"}}
    serve     DIRECTORY/input.json  {"source", "entry_point", "artifact", "kind"}
              answers on the inherited socket FD, see worker.py

"source" is the model's folder; "repository", where it is given, the one around it that code may read.

The answer is a file because the model may print whatever it likes; tracebacks go to stderr, the log.
This folder is imported under a name of its own, so that a repository may have a `train.py` or `model.py`.
"""

import importlib
import importlib.util
import os
import sys

PACKAGE = "_slipway_model"


def load_submodule(name: str):  # type: ignore[no-untyped-def]
    """Import a module of this folder as part of `PACKAGE`."""
    folder = os.path.dirname(os.path.abspath(__file__))
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder + "/__init__.py", submodule_search_locations=[folder]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    return importlib.import_module(PACKAGE + "." + name)


def main(verb: str, directory: str, *more: str) -> None:
    sys.path.pop(0)  # this folder, which Python puts there when it is run
    module = load_submodule("worker" if verb == "serve" else verb)
    if verb == "serve":
        module.serve(directory, int(more[0]))
    else:
        load_submodule("answer").answer(directory, getattr(module, verb))


if __name__ == "__main__":
    main(*sys.argv[1:])
