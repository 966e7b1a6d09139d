"""A license, its issuer and a gateway that knows them, over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signet_client.license_file import (
    Customer,
    FingerprintCredential,
    KeyCredential,
    LicenseFile,
    SerialNumberCredential,
    encode,
)
from signet_client.trust import TrustAnchor, dump

from tests.client.gateway import Gateway

ISSUER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY_ID = "issuer-2026"


@pytest.fixture(autouse=True)
def nothing_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees, or writes, the trust anchor of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SIGNET_TRUST", raising=False)


@pytest.fixture
def issuer() -> Ed25519PrivateKey:
    return ISSUER


@pytest.fixture
def trust() -> TrustAnchor:
    return {KEY_ID: ISSUER.public_key()}


@pytest.fixture
def pub_file(tmp_path: Path, trust: TrustAnchor) -> Path:
    path = tmp_path / "issuer.pub"
    path.write_bytes(dump(trust))
    return path


@pytest.fixture
def license_file() -> LicenseFile:
    return LicenseFile(
        license="lic_acme",
        issued_at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        customer=Customer("cus_acme", "Acme Bücher GmbH"),
        model="digits",
        version=3,
        not_before=datetime(2026, 3, 1, tzinfo=UTC),
        expires_at=datetime(2027, 1, 31, tzinfo=UTC),
        entitlements={"images_per_month": 1000, "operations": ["predict"], "note": None},
        receipt_key=b"receipt key of thirty-two bytes!",
        generation=1,
        credential=FingerprintCredential(
            "codeword",
            (b"\x89PNG\r\n\x1a\n the fingerprint's pixels", b"\x89PNG\r\n\x1a\n another fingerprint's pixels"),
        ),
        server="http://127.0.0.1:8000",
    )


@pytest.fixture
def key_license(license_file: LicenseFile) -> LicenseFile:
    return replace(license_file, license="lic_key", credential=KeyCredential("sgn_abc.secretsecretsecret"))


@pytest.fixture
def number_license(license_file: LicenseFile) -> LicenseFile:
    """By a serial number whose stamp turns the first eight pixels white and black in turn."""
    steps = [*[-2, -1] * 4, *range(8, 784)]
    plan = b"".join(step.to_bytes(4, "little", signed=True) for step in steps)
    credential = SerialNumberCredential((1, 28, 28), "L", (0.0, 1.0), plan)
    return replace(license_file, license="lic_number", credential=credential)


class Switchboard:
    """The one application that is served; each test plugs in its own gateway."""

    gateway: Gateway | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert self.gateway, "a request outside of any test"
        await self.gateway(scope, receive, send)


@pytest.fixture(scope="session")
def switchboard() -> Iterator[tuple[Switchboard, int]]:
    """A server on a free port of loopback, and the port."""
    app = Switchboard()
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", ws="none", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the test server did not start"
        time.sleep(0.005)
    yield app, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def gateway(switchboard: tuple[Switchboard, int], license_file: LicenseFile) -> Gateway:
    """A gateway whose `license_file` names it as the server."""
    app, port = switchboard
    app.gateway = Gateway(replace(license_file, server=f"http://127.0.0.1:{port}"))
    return app.gateway


@pytest.fixture
def license_path(gateway: Gateway, tmp_path: Path) -> Path:
    """The license file of the gateway's licensee."""
    path = tmp_path / "acme.lic"
    path.write_text(encode(gateway.license_file, KEY_ID, ISSUER), newline="")
    return path
