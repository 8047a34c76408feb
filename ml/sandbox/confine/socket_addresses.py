"""Socket addresses as a process passes them: parsed, and which are forbidden; standard library only."""

import errno
import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from common.allowed_addresses import NOT_PUBLIC, IPAddress, expand_address

# metadata services at addresses that are not link-local, and IPv6 that carries IPv4
METADATA_NETWORKS = map(ip_network, ("100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32"))
FORBIDDEN_NETWORKS = (*METADATA_NETWORKS, *NOT_PUBLIC)


def parse_address(address: bytes) -> tuple[IPAddress, int]:
    """Return the address and port of an internet struct sockaddr."""
    (port,) = struct.unpack_from("!H", address, 2)
    if int.from_bytes(address[:2], "little") == socket.AF_INET:
        return IPv4Address(struct.unpack_from("4s", address, 4)[0]), port
    return IPv6Address(struct.unpack_from("16s", address, 8)[0]), port


def open_bound(kind: int, address: bytes, folder: str) -> socket.socket:
    """Return a socket of ours, bound where that is allowed; raises `OSError`. Paths may start at `folder`."""
    if kind == socket.AF_NETLINK:  # for queries of this machine's addresses
        target: Any = (0, 0)
    elif kind == socket.AF_UNIX:
        target = parse_unix_path(address)
        os.chdir(folder)
    elif kind in (socket.AF_INET, socket.AF_INET6):
        target = (str(to_loopback(*parse_address(address))), 0)
    else:
        raise PermissionError(errno.EACCES, "closed")
    bound = socket.socket(kind, socket.SOCK_RAW if kind == socket.AF_NETLINK else socket.SOCK_STREAM)
    try:
        bound.bind(target)
    except BaseException:
        bound.close()
        raise
    return bound


def parse_unix_path(address: bytes) -> bytes:
    """Return the path of a struct sockaddr_un; raises `PermissionError` for a name in no file system."""
    path = address[2:].split(b"\0")[0]
    if not path:
        raise PermissionError(errno.EACCES, "closed")
    return path


def to_loopback(where: IPAddress, port: int) -> IPAddress:
    """Return the loopback address to bind to; raises `PermissionError` for all other addresses."""
    *carried, itself = expand_address(where)
    if port == 0 and where.is_unspecified:
        return IPv4Address("127.0.0.1") if where.version == 4 else IPv6Address("::1")
    if port == 0 and all(each.is_loopback for each in carried or [itself]):
        return where
    raise PermissionError(errno.EACCES, "closed")


def address_family(where: IPAddress) -> int:
    return socket.AF_INET if where.version == 4 else socket.AF_INET6


def is_forbidden(where: IPAddress) -> bool:
    """Return True for addresses of the link, metadata services, multicast or none, or ways around these."""
    is_listed = any(where.version == network.version and where in network for network in FORBIDDEN_NETWORKS)
    return is_listed or where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved


def is_own_address(where: IPAddress) -> bool:
    """Return True for an address of this machine: no other can be bound to."""
    with socket.socket(address_family(where), socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.bind((str(where), 0))
        return True
    return False


def read_flags(process: int, descriptor: int) -> int:
    """Return the flags of a descriptor as open() takes them; raises `OSError` where there is none."""
    try:
        with open(f"/proc/{process}/fdinfo/{descriptor}") as file:  # noqa: PTH123
            facts = dict(line.split(":", 1) for line in file if ":" in line)
    except FileNotFoundError as error:
        raise OSError(errno.EBADF, "closed meanwhile") from error
    return int(facts["flags"], 8)
