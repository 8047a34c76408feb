"""The prefix of a command that runs it in a sandbox."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.sandbox.file_access import grant_read, make_writable
from ml.sandbox.sandbox import Sandbox

CONFINE_COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("confine") / "__main__.py"))
MODEL_HOST = Path(__file__).parents[1] / "model_host"  # runs in the model's environment
GIB = 1 << 30
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
MAX_OPEN_FILES = 4096
# The system, without its private files: /etc by name, nobody's home, no service's folder.
ETC_NAMES = """
    alternatives ca-certificates ca-certificates.conf crypto-policies debian_version fonts gai.conf glvnd
    group host.conf hostname hosts ld.so.cache ld.so.conf ld.so.conf.d locale.alias localtime lsb-release
    magic mime.types nsswitch.conf OpenCL os-release passwd pki protocols resolv.conf services ssl timezone
    vulkan
"""
SYSTEM_PATHS = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/proc", "/sys"),
    *("/opt/cuda", "/opt/rocm", "/opt/nvidia", "/opt/intel", "/dev/random", "/dev/urandom"),
    *(f"/etc/{name}" for name in ETC_NAMES.split()),
)
DEVICES = (
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/shm", "/dev/kfd", "/dev/dri", "/dev/nvidiactl"),  # noqa: S108
    *("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", *(f"/dev/nvidia{number}" for number in range(16))),
)


def confine_prefix(
    sandbox: Sandbox,
    *,
    cwd: Path,
    reads: Sequence[Path],
    writes: Sequence[Path],
    ports: Sequence[int] | None,
    local_ports: Sequence[int] = (),
    has_sockets: bool = False,
    umask: int = 0o077,
) -> list[str]:
    """Return the prefix of a command that runs it in the sandbox.

    Paths are resolved. `ports` are those of TCP that it may connect to on other machines, `local_ports` on
    this one too; with none of them it gets no network, `ports` None leaves the network open. With
    `has_sockets` its processes may communicate by sockets in the folders that it writes.

    Gives the model's user access to the paths; raises `UnavailableError` when that fails for one.
    """
    exposed = [cwd, *reads, *writes, MODEL_HOST]
    masked: set[Path] = set()
    if sandbox.user is not None:
        for folder in writes:
            make_writable(folder, sandbox.user)
        masked = {closed for path in exposed if (closed := grant_read(path, sandbox)) is not None}
    terms = {
        "user": sandbox.user,
        "folder": str(cwd),
        "covered": sorted(map(str, masked)),
        "shown": list(map(str, exposed)),
        "reads": [
            *SYSTEM_PATHS,
            str(Path("/etc/resolv.conf").resolve()),
            *map(str, (cwd, *reads, MODEL_HOST)),
            *list_certificates(),
        ],
        "writes": [*DEVICES, *map(str, writes)],
        "ports": ports if ports is None else [*ports, *local_ports],
        "here": list(local_ports),
        "sockets": list(map(str, writes)) if has_sockets else [],
        "umask": umask,
        "oom_score": sandbox.oom_score,
        "niceness": sandbox.niceness,
        "memory": sandbox.memory,
        "data": sandbox.memory + GIB // 4 + (os.cpu_count() or 1) * (48 << 20),  # threads' stacks and pools
        "file_size": sandbox.file_size,
        "open_files": MAX_OPEN_FILES,
        "processes": sandbox.processes,
    }
    return [*CONFINE_COMMAND, json.dumps(terms)]


def list_certificates() -> list[str]:
    """Return the certificates that this machine's operator makes its programs trust."""
    return [os.environ[name] for name in CERTIFICATES if os.environ.get(name)]
