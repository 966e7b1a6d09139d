"""`signet serve`: where it listens, what it refuses, how it stops."""

import ipaddress
import logging
import signal
import socket
import sqlite3
import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from signet_client import Client

from service.cli import listening
from tests.service.serving import Served, free_port
from tests.service.signet import Signet


@pytest.fixture
def signet(tmp_path: Path) -> Signet:
    return Signet(tmp_path / "home")


def self_signed(folder: Path, ends: timedelta = timedelta(hours=1)) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, here = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=2)).not_valid_after(now + ends)
    builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, private


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "gateway.example", "127.0.0.1.example"])  # noqa: S104
def test_beyond_loopback_it_wants_tls_or_a_proxy(host: str, signet: Signet) -> None:
    said = signet.refused("serve", "--host", host)
    assert "--tls-cert" in said
    assert "--behind-proxy" in said
    assert not signet.home.exists(), "refused before anything is made"
    assert signet("serve", "--host", host).exit_code == 2


class TestTls:
    """A pair that a server can use, or a sentence about what is wrong with it; nothing is made before."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        return self_signed(tmp_path)

    @pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7"])
    def test_half_of_it_is_none(self, host: str, pair: tuple[Path, Path], signet: Signet) -> None:
        cert, key = pair
        assert "--tls-cert needs --tls-key" in signet.refused("serve", "--host", host, "--tls-cert", cert)
        assert "--tls-key needs --tls-cert" in signet.refused("serve", "--host", host, "--tls-key", key)

    @pytest.mark.parametrize("wrong", ["--tls-cert", "--tls-key"])
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda path: None, "cannot be read: No such file"),
            (lambda path: path.mkdir(), "cannot be read: Is a directory"),
            (lambda path: path.write_text(""), "holds no"),
            (lambda path: path.write_bytes(b"\xff\x00 rubbish"), "holds no"),
        ],
        ids=["missing", "a folder", "empty", "rubbish"],
    )
    def test_each_file_is_named(
        self, wrong: str, make: Callable[[Path], None], said: str, pair: tuple[Path, Path], signet: Signet
    ) -> None:
        options = dict(zip(("--tls-cert", "--tls-key"), pair, strict=True))
        options[wrong] = options[wrong].with_name("other.pem")
        make(options[wrong])
        words = [word for option in options.items() for word in option]
        assert f"{wrong} {options[wrong]} {said}" in signet.refused("serve", *words)
        assert not signet.home.exists()

    def test_files_that_are_swapped(self, pair: tuple[Path, Path], signet: Signet) -> None:
        cert, key = pair
        assert "holds no certificate" in signet.refused("serve", "--tls-cert", key, "--tls-key", cert)

    def test_another_certificates_key(self, pair: tuple[Path, Path], signet: Signet, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        _, key = self_signed(tmp_path / "other")
        said = signet.refused("serve", "--tls-cert", pair[0], "--tls-key", key)
        assert f"--tls-key {key} is not the key of" in said

    def test_a_certificate_past_its_time(self, signet: Signet, tmp_path: Path) -> None:
        cert, key = self_signed(tmp_path, ends=timedelta(hours=-1))
        assert f"--tls-cert {cert} is valid from" in signet.refused("serve", "--tls-cert", cert, "--tls-key", key)
        assert not signet.home.exists()

    def test_a_key_under_a_password_is_not_asked_for(self, pair: tuple[Path, Path], signet: Signet) -> None:
        cert, path = pair
        key = load_pem_private_key(path.read_bytes(), None)
        sealed = BestAvailableEncryption(b"s3cret")
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        assert "encrypted" in signet.refused("serve", "--tls-cert", cert, "--tls-key", path)


@pytest.mark.parametrize("cidr", ["everybody", "10.0.0.0/99", "10.0.0.1/8", "*", ""])
class TestProxies:
    def test_an_option_that_is_no_network(self, cidr: str, signet: Signet) -> None:
        said = signet.refused("serve", "--host", "192.0.2.7", "--behind-proxy", "10.0.0.0/8", "--behind-proxy", cidr)
        assert f"--behind-proxy: {cidr!r}" in said or f"--behind-proxy: {cidr}" in said
        assert "such as 10.0.0.0/8" in said
        assert not signet.home.exists()

    def test_a_variable_that_is_none(self, cidr: str, signet: Signet) -> None:
        said = signet.refused("serve", "--host", "192.0.2.7", SIGNET_BEHIND_PROXY=cidr)
        if cidr:
            assert said.count("SIGNET_BEHIND_PROXY") == 1
            assert "such as 10.0.0.0/8" in said
        else:
            assert "--behind-proxy" in said, "an empty one is none"


def test_a_busy_port_is_said_with_the_next_step(signet: Signet) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = signet.refused("serve", "--port", str(port))
        assert f"127.0.0.1:{port}" in said
        assert "--port" in said


def test_an_address_of_another_machine_is_no_matter_of_the_port(
    signet: Signet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNET_SERVER_URL", "https://models.example")
    said = signet.refused("serve", "--host", "192.0.2.1", "--behind-proxy", "10.0.0.0/8", "--port", "8765")
    assert "192.0.2.1:8765" in said
    assert "--host" in said
    assert "--port" not in said


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none(port: str, signet: Signet) -> None:
    assert "port" in signet.refused("serve", "--port", port).lower()


class TestAStartThatFails:
    def test_of_a_gateway_whose_database_is_not_whole(self, signet: Signet) -> None:
        signet.said("keys", "show")
        with closing(sqlite3.connect(signet.home / "signet.db")) as database:
            database.execute("DROP TABLE licenses")
        said = signet.refused("serve", "--port", str(free_port()))
        assert "the database cannot be used: no such table: licenses" in said

    def test_on_a_port_that_was_taken_since_it_was_looked_at(
        self, signet: Signet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "check_free", lambda *_: None)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            result = signet("serve", "--port", port)
        assert result.exit_code == 1
        assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
        assert "Traceback" not in result.stderr
        assert "Signet serves" not in result.stdout


def test_it_serves_over_tls_and_stops_cleanly(tmp_path: Path, folder: Path, pictures: list[Path]) -> None:
    """One process, from its first request to its last."""
    cert, key = self_signed(tmp_path)
    gateway = Served(tmp_path / "home", tls=(cert, key)).start()
    signet = Signet(gateway.home, gateway.url, {"SSL_CERT_FILE": str(cert)})
    with httpx.Client(base_url=gateway.url, verify=ssl.create_default_context(cafile=cert), trust_env=False) as http:
        assert http.get("/v1/health/live").json() == {"status": "live"}
        assert http.get("/v1/health/live").headers.get("server") is None
        assert http.get("/docs").status_code == 200
        assert http.get("/v1/licenses").status_code == 401
    signet.said("model", "add", folder)
    customer, license = signet.json("customer", "add", "Acme")["id"], tmp_path / "acme.lic"
    signet.said("license", "issue", customer, "digits", "-o", license)
    assert Client(license, trust=gateway.home / "issuer.pub").license.server == gateway.url
    assert "8 of 8" in signet.said("predict", *pictures, "--license", license)
    assert "CERTIFICATE_VERIFY_FAILED" in signet.refused("customer", "list", SSL_CERT_FILE="")

    code, said = gateway.stop(signal.SIGINT)

    assert code == 0, gateway.logged
    assert f"Signet serves at {gateway.url}" in said
    assert "gateway.stopped" in gateway.logged
    assert "Traceback" not in gateway.logged
    assert "no answer" in signet.refused("customer", "list")
    assert (gateway.home / "keys" / "owner.key").read_text().strip() not in said + gateway.logged


def test_a_command_leaves_this_process_logs_as_they_were(signet: Signet) -> None:
    def found() -> object:
        loggers = [logging.getLogger(name) for name in (None, "uvicorn.access")]
        return structlog.get_config(), [(one.handlers[:], one.level, one.propagate) for one in loggers]

    before = found()
    signet.said("keys", "show")
    assert found() == before
