"""The policy on addresses that data may be fetched from: public ones, and those that the operator allows."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address

NAT64 = IPv6Network("64:ff9b::/96")
# Ranges that `is_global` counts as public: Azure's metadata, IPv6 that carries IPv4 or is site-local
NOT_PUBLIC = tuple(
    map(ip_network, ("168.63.129.16/32", "::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10"))
)


@dataclass(frozen=True)
class AddressPolicy:
    """The value of SLIPWAY_DATA_ALLOW: host names, and addresses one by one or as networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> "AddressPolicy":
        """Parse "minio.internal, 10.1.0.0/16"; raises `ValueError` for an entry that is neither."""
        hosts, networks = set(), []
        for word in text.replace(",", " ").split():
            if "/" in word or ":" in word or word.replace(".", "").isdigit():
                networks.append(ip_network(word.strip("[]"), strict=False))
            else:
                hosts.add(word.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def is_named(self, host: str, address: IPAddress) -> bool:
        """Return whether the operator has listed the host or the address."""
        if host.lower().rstrip(".") in self.hosts:
            return True
        return any(each in network for each in expand_address(address) for network in self.networks)

    def is_allowed(self, host: str, address: IPAddress) -> bool:
        return self.is_named(host, address) or is_public(address)


def is_public(address: IPAddress) -> bool:
    """Return whether an address is public: not this machine's, its networks' or a metadata service's."""
    *carried, itself = expand_address(address)
    if carried:
        return all(map(is_public, carried))
    refused = any(itself.version == network.version and itself in network for network in NOT_PUBLIC)
    return itself.is_global and not itself.is_multicast and not refused


def expand_address(address: IPAddress) -> Iterator[IPAddress]:
    """Yield the IPv4 address that an IPv6 one stands for, then the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            yield address.ipv4_mapped
        elif address in NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
    yield address


def parse_address(text: str) -> IPAddress:
    """Parse an address as the resolver returns it, `fe80::1%eth0` included."""
    return ip_address(text.split("%", 1)[0])


def resolve_host(host: str, port: int) -> list[str]:
    """Return all addresses of a host; raises OSError where it has none, UnicodeError for an invalid name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
