"""The command that runs the benchmarks of this folder in turn: `python -m benchmarks [NAME…]`."""

import importlib
import os
import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    found = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    chosen = sys.argv[1:] or found
    if unknown := set(chosen) - set(found):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    cpus = len(os.sched_getaffinity(0))
    print(f"{platform.system()} {platform.machine()}, {cpus} CPUs, Python {platform.python_version()}")
    failed = []
    for name in chosen:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        if not module.main():
            failed.append(name)
    sys.exit(f"\nbelow the bar: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
