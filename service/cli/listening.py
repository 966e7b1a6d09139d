"""Where a gateway may listen and whom it believes: what can be said before anything is made."""

import errno
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from signet_client.servers import is_loopback

from service.cli.api import fail
from service.settings import Settings

_PORT_IS_NOT_FREE = (errno.EADDRINUSE, errno.EACCES)


def check_reach(host: str, *, tls: bool, proxies: Sequence[str]) -> None:
    """Nobody is served in the clear from beyond this machine."""
    if not is_loopback(host) and not tls and not proxies:
        raise fail(f"{host} is reachable from outside: give --tls-cert and --tls-key, or --behind-proxy CIDR", 2)


def check_tls(cert: Path | None, key: Path | None) -> None:
    """Neither, or a certificate chain with the private key of its first certificate."""
    if cert is None and key is None:
        return
    if key is None:
        raise fail("--tls-cert needs --tls-key: give the certificate's private key too", 2)
    if cert is None:
        raise fail("--tls-key needs --tls-cert: give the certificate chain too", 2)
    certificate = _certificate(cert)
    if certificate.public_key() != _of_private_key(key):
        raise fail(f"--tls-key {key} is not the key of the first certificate in --tls-cert {cert}; give its own", 2)
    if not certificate.not_valid_before_utc <= datetime.now(UTC) < certificate.not_valid_after_utc:
        dates = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise fail(f"--tls-cert {cert} is valid from {dates}, no client would take it now; renew it", 2)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise fail(f"--tls-cert {cert} cannot be served with ({reason}); give another certificate", 2) from None


def check_proxies(cidrs: Sequence[str]) -> None:
    """Networks: a name or a slip would be taken for a proxy that is never seen."""
    for cidr in cidrs:
        try:
            ip_network(cidr)
        except ValueError as error:
            raise fail(f"--behind-proxy: {error}; give a network such as 10.0.0.0/8", 2) from None


def check_free(host: str, port: int) -> None:
    """Somebody may be listening already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            another = f"--port (make run PORT={port + 1})" if error.errno in _PORT_IS_NOT_FREE else "--host"
            raise fail(f"cannot listen on {host}:{port} ({error.strerror}); choose another with {another}") from None


def reached_at(settings: Settings, host: str, port: int, *, tls: bool) -> dict[str, str]:
    """The address that license files will name."""
    if "server_url" in settings.model_fields_set:
        return {}
    if not is_loopback(host) and (not tls or _is_any(host)):  # nobody can be reached there, or not safely
        raise fail("set SIGNET_SERVER_URL to where licensees reach this gateway; it goes into their license files", 2)
    return {"server_url": f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"}


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read("--tls-cert", path))[0]
    except (ValueError, UnsupportedAlgorithm):
        raise fail(f"--tls-cert {path} holds no certificate; give a PEM certificate chain", 2) from None


def _of_private_key(path: Path) -> PublicKeyTypes:
    try:
        return load_pem_private_key(_read("--tls-key", path), password=None).public_key()
    except TypeError:
        raise fail(
            f"--tls-key {path} is encrypted; take the password off with: openssl pkey -in FILE -out FILE", 2
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise fail(f"--tls-key {path} holds no private key; give a PEM private key", 2) from None


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise fail(
            f"{option} {path} cannot be read: {error.strerror}; give a file that this user may read", 2
        ) from None


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return not host
