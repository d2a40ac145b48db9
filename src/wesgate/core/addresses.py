"""Which addresses may be fetched from: a URL that somebody sends must not open this host or its network to them."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

NOT_PUBLIC = "names a host that is not public; a site that wants this sets WESGATE_SOURCES__ALLOW_PRIVATE=true"
NEVER = "names an address that is not public and never allowed: cloud machines are told their secrets there"

# Whoever asks these from inside a cloud machine gets its credentials, its configuration, or both.
_NEVER = (
    ipaddress.ip_network("169.254.0.0/16"),  # link-local: the metadata services of nearly all clouds
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's wire server
    ipaddress.ip_network("fd00:ec2::/32"),  # AWS: metadata, credentials of EKS pods
    ipaddress.ip_network("fd20:ce::254/128"),  # Google's metadata
    ipaddress.ip_network("100.100.100.200/32"),  # Alibaba's metadata
    ipaddress.ip_network("192.0.0.192/32"),  # Oracle's metadata
    ipaddress.ip_network("2002::/16"),  # 6to4, Teredo, local NAT64: they wrap any IPv4 address, and nobody needs them
    ipaddress.ip_network("2001::/32"),
    ipaddress.ip_network("64:ff9b:1::/48"),
)

# `is_global` calls these public in some versions of Python, or in all.
_NOT_PUBLIC = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("100.64.0.0/10"))

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out to be public."""


def is_public(address: str) -> bool:
    """Whether an address is on the public internet, also when it is wrapped in another."""
    found = _unwrapped(address)
    if any(found in net for net in (*_NEVER, *_NOT_PUBLIC)) or found.is_multicast:
        return False
    return found.is_global and (found.version == 4 or found in _UNICAST)


def is_allowed(address: str, allow_private: bool) -> bool:
    """Whether this address may be fetched from. Some never may, whatever a site allows."""
    if allow_private:
        return not any(_unwrapped(address) in net for net in _NEVER)
    return is_public(address)


def refusal(address: str) -> str:
    """Why an address that is not allowed is not, to follow what names it."""
    return NOT_PUBLIC if is_allowed(address, allow_private=True) else NEVER


def _unwrapped(address: str) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it, else the address itself."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    compatible = found.packed[:12] == bytes(12) and int(found) > 1  # ::1.2.3.4, but not :: and ::1
    if found.ipv4_mapped or compatible or found in _NAT64:
        return ipaddress.IPv4Address(found.packed[12:])
    return found
