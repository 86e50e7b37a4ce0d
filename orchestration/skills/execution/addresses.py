"""Decide which IP addresses handlers may call, embedded ones included."""

import ipaddress
from collections.abc import Iterator

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA_SERVICE = "a metadata service"

# `ipaddress.is_global` is not enough: it is true for several forms that embed a
# loopback or private IPv4 address.
DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.169.253",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def denied(address: IPAddress) -> str:
    """Return why this address is not allowed; empty if it is."""
    for inner in _unwrapped(address):
        if inner in METADATA:
            return METADATA_SERVICE
        if any(
            inner in network for network in DENIED if network.version == inner.version
        ):
            return "a private or reserved address"
    return ""


def _unwrapped(address: IPAddress) -> Iterator[IPAddress]:
    """Return the address and each IPv4 address that is embedded in it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address in NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()
    # ISATAP: the last 64 bits are [02]00:5efe and an IPv4 address.
    if (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE:  # noqa: PLR2004
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
