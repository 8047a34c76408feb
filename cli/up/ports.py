"""A check that a port is free."""

from cli.errors import UserError
from common.system import ports
from common.system.ports import PortTakenError


def check_available(host: str, port: int, variable: str) -> None:
    """Raise `UserError` that names the port and the `variable` it comes from, when it cannot be bound."""
    try:
        ports.bind_socket(host, port, variable).close()
    except PortTakenError as error:
        raise UserError(str(error)) from error
