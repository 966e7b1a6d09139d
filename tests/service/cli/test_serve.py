"""Where a gateway listens, and what it tells licensees to ask."""

from typing import Any

import pytest

from service.cli import listening, serve
from service.settings import Settings
from tests.service.signet import Signet


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be run."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(serve, "_run", lambda *arguments, **_: seen.append(arguments))
    monkeypatch.setattr(listening, "check_free", lambda *_: None)
    return seen


def test_an_ipv6_address_stands_in_brackets(signet: Signet, started: list[tuple[Any, ...]]) -> None:
    signet.said("serve", "--host", "::1", "--port", "8123")
    assert started[0][0].server_url == "http://[::1]:8123"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])  # noqa: S104 - nothing listens
def test_behind_a_proxy_it_must_be_told_its_url(
    signet: Signet, started: list[tuple[Any, ...]], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("serve", "--host", host, "--behind-proxy", "10.0.0.0/8")
    assert "SIGNET_SERVER_URL" in signet.refused(*command)
    assert not signet.home.exists()
    monkeypatch.setenv("SIGNET_SERVER_URL", "https://signet.example/")
    signet.said(*command)
    assert started[0][0].server_url == "https://signet.example"


def test_the_proxies_may_stand_in_the_environment(
    signet: Signet, started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNET_BEHIND_PROXY", "10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("SIGNET_SERVER_URL", "https://signet.example")
    signet.said("serve", "--host", "0.0.0.0")  # noqa: S104
    signet.said("serve", "--behind-proxy", "192.0.2.0/24")
    assert [arguments[5] for arguments in started] == [["10.0.0.0/8", "fd00::/8"], ["192.0.2.0/24"]]


@pytest.mark.parametrize("url", ["signet.example", "ftp://x", "https://user:pw@x", "https://x/?key=1", "https://"])
def test_a_url_that_no_licensee_could_use_is_refused(signet: Signet, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNET_SERVER_URL", url)
    said = signet.refused("serve")
    assert "SIGNET_SERVER_URL" in said
    assert "pw" not in said


def test_the_databases_password_is_not_shown() -> None:
    settings = Settings(database_url="postgresql://signet:s3cret@database/signet")
    assert "s3cret" not in repr(settings) + str(settings.model_dump())
    assert settings.resolved_database_url() == "postgresql+asyncpg://signet:s3cret@database/signet"
