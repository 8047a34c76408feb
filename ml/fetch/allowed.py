"""Which addresses may be asked for data: public ones, and what the operator allows besides."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` takes for public: Azure's metadata, IPv6 that carries IPv4 or belongs to one site
NOT_PUBLIC = tuple(
    map(ip_network, ("168.63.129.16/32", "::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10"))
)


@dataclass(frozen=True)
class Allowed:
    """SLIPWAY_DATA_ALLOW: hosts by their name, addresses one by one or as networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Allowed":
        """Of "minio.internal, 10.1.0.0/16"; `ValueError` for what is neither."""
        hosts, networks = set(), []
        for word in text.replace(",", " ").split():
            if "/" in word or ":" in word or word.replace(".", "").isdigit():
                networks.append(ip_network(word.strip("[]"), strict=False))
            else:
                hosts.add(word.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def named(self, host: str, address: Address) -> bool:
        """Whether the operator has said so."""
        if host.lower().rstrip(".") in self.hosts:
            return True
        return any(each in network for each in meanings(address) for network in self.networks)

    def admits(self, host: str, address: Address) -> bool:
        return self.named(host, address) or public(address)


def public(address: Address) -> bool:
    """Whether it is on the internet: not of this machine, its networks, or their metadata services."""
    *carried, itself = meanings(address)
    if carried:
        return all(map(public, carried))
    refused = any(itself.version == network.version and itself in network for network in NOT_PUBLIC)
    return itself.is_global and not itself.is_multicast and not refused


def meanings(address: Address) -> Iterator[Address]:
    """The IPv4 address that an IPv6 one stands for, then the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            yield address.ipv4_mapped
        elif address in NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
    yield address


def parse(text: str) -> Address:
    """An address as the resolver gives it, `fe80::1%eth0` included."""
    return ip_address(text.split("%", 1)[0])


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host; raises OSError where it has none, UnicodeError for no host's name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
