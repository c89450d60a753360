from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis.strategies import ip_addresses

from worker.net.addresses import AllowList, admitted, is_public
from worker.net.guard import resolve

INSIDE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",  # metadata, Alibaba
    "127.0.0.1",
    "127.9.9.9",
    "168.63.129.16",  # host agent, Azure
    "169.254.169.254",  # metadata, most clouds
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # metadata, Oracle
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "fc00::1",
    "fd00:ec2::254",  # metadata, AWS
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_lead_inside_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_globally_routable_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_inside(address: object) -> None:
    parsed = ip_address(str(address))
    inner = getattr(parsed, "ipv4_mapped", None) or parsed
    inside = inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast or inner.is_unspecified
    if inside and not str(parsed).startswith("64:ff9b::"):
        assert not is_public(parsed)


@given(ip_addresses(v=4))
def test_wrapping_an_address_in_ipv6_changes_nothing(address: IPv4Address) -> None:
    assert is_public(ip_address(f"::ffff:{address}")) == is_public(address)
    assert is_public(ip_address(int(address) | int(ip_address("64:ff9b::")))) == is_public(address)


def test_only_the_public_ones_of_a_hosts_addresses_are_admitted() -> None:
    assert admitted("h", 443, ["10.0.0.1", "1.1.1.1", "fe80::1%eth0", "fd00::1"], AllowList()) == ["1.1.1.1"]


def test_a_zone_makes_no_address_public() -> None:
    assert admitted("h", 443, ["2606:4700::1111%eth0"], AllowList()) == []


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "passes"),
    [
        ("minio.internal", "minio.internal", 9000, "10.0.0.1", True),
        ("MinIO.internal ", "minio.INTERNAL.", 9000, "10.0.0.1", True),
        ("minio.internal", "minio.internal.evil.example", 9000, "10.0.0.1", False),
        ("127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1", True),
        ("127.0.0.1:9000", "127.0.0.1", 9001, "127.0.0.1", False),
        ("[::1]:9000", "::1", 9000, "::1", True),
        ("10.1.0.0/16", "anything.example", 80, "10.1.9.9", True),
        ("10.1.0.0/16", "anything.example", 80, "10.2.0.1", False),
        ("127.0.0.1", "localhost", 80, "127.0.0.1", True),
        ("fd00::/8", "h", 80, "fd12::1", True),
    ],
)
def test_the_operator_opens_hosts_by_name_port_address_or_network(
    entry: str, host: str, port: int, address: str, *, passes: bool
) -> None:
    assert bool(admitted(host, port, [address], AllowList.of([entry]))) is passes


def test_an_empty_list_opens_nothing() -> None:
    assert AllowList.of(["", "  "]) == AllowList()


@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..example.com", ".example.com"])
def test_a_name_that_no_host_can_have_is_an_unknown_one(host: str) -> None:
    with pytest.raises(socket.gaierror):
        resolve(host, 443)
