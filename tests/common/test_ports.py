"""A free port is no port of outgoing connections, and a taken one is told in a sentence."""

import socket

import pytest

from common import ports


def test_a_free_port_is_given_to_no_outgoing_connection() -> None:
    found = {ports.free() for _ in range(50)}

    assert not [port for port in found if port in ports.ephemeral()]


def test_with_nothing_outside_any_free_port_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral", lambda: range(1024, 65536))

    assert ports.free() > 0


def test_a_taken_port_is_told_with_its_cure() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(ports.PortTakenError) as caught:
            ports.bind("127.0.0.1", port, "VCS_PORT")

    assert str(caught.value).startswith(f"port {port} on 127.0.0.1 is taken: end what listens there")
    assert "VCS_PORT, outside of" in str(caught.value)


def test_an_address_of_another_machine_is_told_too() -> None:
    with pytest.raises(ports.PortTakenError, match="cannot be had"):
        ports.bind("192.0.2.1", 80, "VCS_PORT")
