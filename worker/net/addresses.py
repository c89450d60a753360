"""Addresses that a client-chosen URL may lead to: pure decisions, no network.

An address is *public* when it is globally routable unicast and belongs to nobody's inside: the IANA special-purpose
registries (RFC 6890 and successors) are refused, and so are IPv4 addresses wrapped in IPv6 ones (mapped, NAT64) whose
inner address is not public, and tunnels (6to4, Teredo) whose end can't be judged. Cloud metadata services live on
link-local or private addresses and are refused with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CLOSED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # "this network"
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent, reachable from inside only
        "169.254.0.0/16",  # link-local; metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_OPEN_V6 = IPv6Network("2000::/3")  # global unicast; everything else is special
_CLOSED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: the inner address is anybody's
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def url_host(url: str) -> str:
    """Return the host of an http(s) URL, with the port if it names one.

    Raises:
        ValueError: it is no such URL; says why.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must be an http(s) address")
    if not parts.hostname or not parts.hostname.isprintable() or " " in parts.hostname:
        raise ValueError("names no host")
    port = parts.port  # raises for a port that is none
    return parts.hostname if port is None else f"{parts.hostname}:{port}"


def is_public(address: Address) -> bool:
    """Return whether a client may make this worker connect to `address`."""
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _CLOSED_V4)
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address in _OPEN_V6 and not any(address in net for net in _CLOSED_V6)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to `address` end at, where that is known."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


@dataclass(frozen=True, slots=True)
class AllowList:
    """Hosts that the operator lets clients reach although they are not public.

    Each entry is a host name (`minio.internal`), a host with port (`127.0.0.1:9000`, `[::1]:9000`), an address or a
    network (`10.1.0.0/16`). A name allows whatever it resolves to; an address counts as a name too.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def of(cls, entries: Iterable[str]) -> AllowList:
        """Return the list for `entries`; blank ones are skipped, case does not matter."""
        names: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            text = entry.strip().lower()
            if not text:
                continue
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError:
                names.add(text.rstrip("."))
            else:
                if "/" not in text:
                    names.add(text)
        return cls(frozenset(names), tuple(networks))

    def allows_name(self, host: str, port: int) -> bool:
        """Return whether `host` is listed, alone or with `port`."""
        name = host.lower().rstrip(".")
        bracketed = f"[{name}]" if ":" in name else name
        return name in self.names or f"{bracketed}:{port}" in self.names

    def allows_address(self, address: Address) -> bool:
        """Return whether `address` lies in a listed network."""
        return any(address.version == net.version and address in net for net in self.networks)


def admitted(host: str, port: int, addresses: Iterable[str], allow: AllowList) -> list[str]:
    """Return those of `addresses` (text, as the resolver gave them for `host`) that may be connected to, in order."""
    given = list(addresses)
    if allow.allows_name(host, port):
        return given
    passed = []
    for text in given:
        address = ip_address(text)
        plain = IPv6Address(int(address)) if isinstance(address, IPv6Address) else address  # without a zone
        if allow.allows_address(plain) or (plain == address and is_public(plain)):
            passed.append(text)
    return passed
