"""Whether an address is this machine's alone."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """A name other than `localhost` may lead anywhere: it is not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
