"""Which servers may be told a secret: those reached over TLS, and this machine itself."""

from __future__ import annotations

from ipaddress import ip_address

import httpx

from signet_client.errors import InsecureServer
from signet_client.license_payload import is_server


def checked_server(server: str, what: str = "the license's credential") -> str:
    """The URL as it is, if it may be told `what`.

    Raises:
        InsecureServer: no URL of a server, or plain http beyond loopback.
    """
    if not is_server(server):
        raise InsecureServer("the server is not a URL of the form https://host[:port][/path]")
    try:
        url = httpx.URL(server)  # the reading that will be acted on
        host = url.host  # decodes an international name
    except (httpx.InvalidURL, ValueError) as error:
        raise InsecureServer(f"the server's URL cannot be used: {error}") from None
    if url.scheme != "https" and not is_loopback(host):
        raise InsecureServer(f"{server} would be told {what} unencrypted; plain http is for loopback only")
    return server


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
