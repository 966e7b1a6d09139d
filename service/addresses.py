"""Where a request comes from. Behind a trusted proxy uvicorn has already put the client's address here."""

from collections.abc import Iterable, MutableMapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

UNKNOWN = "0.0.0.0"  # noqa: S104 - an address to compare with networks, not one to bind  # a Unix socket has none


def address_of(scope: MutableMapping[str, Any]) -> str:
    """The client's IP address as text."""
    client = scope.get("client")
    return client[0] if client and client[0] else UNKNOWN


def is_within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address lies in one of the networks; what is no address, as a proxy may pass on, lies in none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped  # IPv4, as a dual-stack socket writes it
    return any(parsed in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine, and no other."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
