"""Detection of loopback addresses."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether a host is loopback; a name other than `localhost` may lead anywhere and is not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
