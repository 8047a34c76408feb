"""A free port is no port of outgoing connections, and a taken one is told in a sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common.system import ports

ROOT = Path(__file__).parents[3]


def test_a_free_port_is_given_to_no_outgoing_connection() -> None:
    found = {ports.find_free_port() for _ in range(50)}

    assert not [port for port in found if port in ports.read_ephemeral_range()]


def test_with_nothing_outside_any_free_port_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "read_ephemeral_range", lambda: range(1024, 65536))

    assert ports.find_free_port() > 0


def test_a_taken_port_is_told_with_its_cure() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(ports.PortTakenError) as caught:
            ports.bind_socket("127.0.0.1", port, "VCS_PORT")

    assert str(caught.value).startswith(f"port {port} on 127.0.0.1 is taken: end what listens there")
    assert "VCS_PORT, outside of" in str(caught.value)


def test_an_address_of_another_machine_is_told_too() -> None:
    with pytest.raises(ports.PortTakenError, match="cannot be had"):
        ports.bind_socket("192.0.2.1", 80, "VCS_PORT")


@pytest.mark.parametrize(("service", "variable"), [("ml", "ML_PORT"), ("vcs", "VCS_PORT")])
def test_a_service_ends_with_a_sentence_where_its_port_is_taken(service: str, variable: str) -> None:
    nowhere = {"DATABASE_URL": "postgresql://a@127.0.0.1:1/b", "SLIPWAY_REPOSITORY": "acme/web-traffic"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", service],
            env={"PATH": os.environ["PATH"], **nowhere, variable: str(port)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"port {port} on 127.0.0.1 is taken: ")
    assert variable in done.stderr
