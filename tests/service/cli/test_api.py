"""Where an admin key may be sent."""

from pathlib import Path

import httpx
import pytest

from service.keyring import write_private
from service.keys import Key
from tests.service.signet import Signet

THEIRS = Key.mint("sga").text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Every request that would leave."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"items": [], "next_cursor": None})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: answer(request))
    return seen


@pytest.mark.parametrize("server", ["http://192.0.2.7:8000", "http://signet.example", "ftp://x", "https://a:b@c", "x"])
def test_no_key_goes_out_in_the_clear(at_home: Signet, tmp_path: Path, asked: list[httpx.Request], server: str) -> None:
    write_private(tmp_path / "theirs.key", THEIRS)
    at_home.refused("--server", server, "--admin-key-file", tmp_path / "theirs.key", "customer", "list")
    assert not asked


def test_this_homes_owner_key_stays_on_this_machine(at_home: Signet, asked: list[httpx.Request]) -> None:
    assert "--admin-key-file" in at_home.refused("--server", "https://signet.example", "customer", "list")
    assert not asked


def test_a_key_that_is_named_goes_over_tls(at_home: Signet, tmp_path: Path, asked: list[httpx.Request]) -> None:
    write_private(tmp_path / "theirs.key", THEIRS + "\n")
    at_home.said("--server", "https://signet.example", "--admin-key-file", tmp_path / "theirs.key", "customer", "list")
    assert [request.headers["authorization"] for request in asked] == [f"Bearer {THEIRS}"]


@pytest.mark.parametrize("server", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_the_owner_key_goes_to_loopback(at_home: Signet, asked: list[httpx.Request], server: str) -> None:
    at_home.said("--server", server, "customer", "list")
    assert len(asked) == 1
