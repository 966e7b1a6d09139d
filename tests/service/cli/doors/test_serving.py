"""`signet serve`: where it listens, what it refuses, how it stops."""

import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.gateway import Gateway
from tests.service.cli.doors.conftest import Signet
from tests.service.serving import Served, free_port


@pytest.fixture
def signet(tmp_path: Path) -> Signet:
    return Signet(tmp_path / "home")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "gateway.example", "127.0.0.1.example"])  # noqa: S104
def test_beyond_loopback_it_wants_tls_or_a_proxy(host: str, signet: Signet) -> None:
    said = signet.refuses("serve", "--host", host)
    assert "--tls-cert" in said
    assert "--behind-proxy" in said
    assert not signet.home.exists(), "refused before anything is made"
    assert signet("serve", "--host", host).exit_code == 2


def test_half_of_tls_is_none(signet: Signet, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    assert "--tls-key" in signet.refuses("serve", "--host", "192.0.2.7", "--tls-cert", tmp_path / "cert.pem")


@pytest.mark.parametrize("missing", ["--tls-cert", "--tls-key"])
def test_a_certificate_that_is_not_there(missing: str, signet: Signet, tmp_path: Path) -> None:
    options = {"--tls-cert": tmp_path / "cert.pem", "--tls-key": tmp_path / "key.pem"}
    for option, path in options.items():
        if option != missing:
            path.write_text("")
    words = [word for option, path in options.items() for word in (option, path)]
    assert "does not exist" in signet.refuses("serve", "--port", str(free_port()), *words)


def test_a_certificate_that_is_none(signet: Signet, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("rubbish")
    tls = ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem"]
    assert "certificate" in signet.refuses("serve", "--port", str(free_port()), *tls)


@pytest.mark.parametrize("cidr", ["everybody", "10.0.0.0/99", "10.0.0.1/8"])
def test_a_proxy_that_is_none(cidr: str, signet: Signet) -> None:
    assert cidr in signet.refuses("serve", "--port", str(free_port()), "--behind-proxy", cidr)


def test_a_busy_port_is_said_with_the_next_step(signet: Signet) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = signet.refuses("serve", "--port", str(port))
        assert f"127.0.0.1:{port}" in said
        assert f"PORT={port + 1}" in said


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none(port: str, signet: Signet) -> None:
    assert "port" in signet.refuses("serve", "--port", port).lower()


def test_a_gateway_that_does_not_start_is_no_success(signet: Signet, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the database is away")

    monkeypatch.setattr(Gateway, "start", fail)
    result = signet("serve", "--port", str(free_port()))
    assert result.exit_code not in (0, None)


class TestServed:
    """One process, from its first request to its last."""

    def test_it_serves_answers_and_stops_cleanly(self, tmp_path: Path) -> None:
        gateway = Served(tmp_path / "home").start()
        url = gateway.url
        assert httpx.get(f"{url}/v1/health/live", trust_env=False).json() == {"status": "live"}
        assert httpx.get(f"{url}/docs", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/v1/licenses", trust_env=False).status_code == 401
        assert httpx.get(f"{url}/v1/health/live", trust_env=False).headers.get("server") is None

        code, said = gateway.stop(signal.SIGINT)

        assert code == 0, gateway.logged
        assert f"Signet serves at {url}" in said
        assert "gateway.stopped" in gateway.logged
        assert "Traceback" not in gateway.logged
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/v1/health/live", trust_env=False)
        owner = (gateway.home / "keys" / "owner.key").read_text().strip()
        assert owner not in said + gateway.logged
