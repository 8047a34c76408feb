"""Whether a port can be had."""

from cli.errors import Trouble
from common import ports
from common.ports import PortTakenError


def check(host: str, port: int, variable: str) -> None:
    """`Trouble` that names the port and the `variable` it comes from, when nobody could listen on it."""
    try:
        ports.bind(host, port, variable).close()
    except PortTakenError as error:
        raise Trouble(str(error)) from error
