"""Builders of wheels and source distributions, and of the pages of an index that has them."""

import io
import tarfile
import zipfile
from collections.abc import Mapping

from tests.harness.shelf import Shelf

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
"""
BACKEND = """
import os, zipfile

{body}

def build_wheel(folder, *_):
    name = "{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("{name}/__init__.py", "")
        about = "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n"
        wheel.writestr("{name}-1.0.dist-info/METADATA", about)
        wheel.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("{name}-1.0.dist-info/RECORD", "")
    return name
"""


def build_wheel(
    name: str,
    extra: Mapping[str, str | bytes] | None = None,
    links: Mapping[str, str] | None = None,
    version: str = "1.0",
) -> bytes:
    """Return a wheel of one module, with `extra` files, and `links` as zip archives have them."""
    info = f"{name}-{version}.dist-info"
    files: dict[str, str | bytes] = {
        f"{name}/__init__.py": "answer = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(extra or {}),
    }
    files.setdefault(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*files, *(links or {}))))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)  # of one date, so that the same wheel has the same hash
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
        for path, target in (links or {}).items():
            entry = zipfile.ZipInfo(path)
            entry.create_system, entry.external_attr = 3, 0o120777 << 16
            archive.writestr(entry, target)
    return packed.getvalue()


def build_sdist(name: str, body: str = "", backend: str | None = None) -> bytes:
    """Return a source distribution whose build runs `body`, or a `backend` of its own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in {
            "pyproject.toml": PROJECT.format(name=name),
            "backend.py": backend or BACKEND.format(name=name, body=body),
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def put_package(shelf: Shelf, name: str, content: bytes, kind: str = "whl", version: str = "1.0") -> None:
    """Offer a package on the index at `/simple/`; `kind` is `whl` or `tar.gz`."""
    plain = name.replace("-", "_")
    file = f"{plain}-{version}-py3-none-any.whl" if kind == "whl" else f"{plain}-{version}.tar.gz"
    shelf.put(content, f"/files/{file}")
    page = shelf.put(f'<a href="../../files/{file}">{file}</a>'.encode(), f"/simple/{name}/")
    page.headers |= {"Content-Type": "text/html", "Cache-Control": "no-cache"}
