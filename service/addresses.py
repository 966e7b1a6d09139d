"""Where a request comes from. Behind a trusted proxy uvicorn has already put the client's address here."""

from collections.abc import MutableMapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

UNKNOWN = "0.0.0.0"  # noqa: S104 - an address to compare with networks, not one to bind  # a Unix socket has none


def address_of(scope: MutableMapping[str, Any]) -> str:
    """The client's IP address as text."""
    client = scope.get("client")
    return client[0] if client and client[0] else UNKNOWN


@lru_cache(maxsize=4096)
def throttled_as(address: str) -> str:
    """What an address is counted under: IPv6 by its /64, since whoever has one address there has all of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
