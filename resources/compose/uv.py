"""The source of uv for pip, with its digests in a lock file: `python uv.py uv.lock`."""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    packages = tomllib.loads(Path(sys.argv[1]).read_text())["package"]
    uv = next(package for package in packages if package["name"] == "uv")
    hashes = (f"--hash={wheel['hash']}" for wheel in uv["wheels"])
    print(f"uv=={uv['version']}", *hashes)  # noqa: T201 (into a file of the image's build)
