"""A real gateway in a process of its own, over a home of its own, and what an administrator does to it."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from signet_client import license_file, trust

from service.catalogue.artefacts import CALIBRATION, DISTILLATION, MANIFEST, WEIGHTS, Artefact
from service.settings import Settings

RUNS = Path(__file__).resolve().parents[1] / "runs"  # git-ignored
_SERVE = "from service.cli.main import app; app()"
_READY_S = 60.0
# What limits by address would hide what is measured: the counting, the decoys and the fair queue.
OPEN = {"SIGNET_ADDRESS_RATE_PER_S": "1e6", "SIGNET_ADDRESS_BURST": "1000000", "SIGNET_ENVIRONMENT": "production"}


@dataclass(frozen=True, slots=True)
class Issued:
    """A license as its customer holds it."""

    id: str
    text: str = field(repr=False)
    file: license_file.LicenseFile = field(repr=False)

    @property
    def key(self) -> str:
        """Of a license proved by a key."""
        credential = self.file.credential
        assert isinstance(credential, license_file.KeyCredential)
        return credential.key

    @property
    def png(self) -> bytes:
        """Of a license proved by a fingerprint."""
        credential = self.file.credential
        assert isinstance(credential, license_file.FingerprintCredential)
        return credential.images[0]


class Running:
    """A gateway on a free loopback port. Leaving the context stops it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = home / "gateway.log"
        self._environment = os.environ | OPEN | {"SIGNET_SERVER_URL": self.url} | settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", _SERVE, "--home", str(self.home), "serve", "--port", str(self.port)]
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, env=self._environment, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            assert self._process is not None
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/v1/health/ready", trust_env=False).is_success:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"the gateway did not start; its log ends: {self._log.read_text()[-2000:]}")

    def settings(self) -> Settings:
        """Its settings, for looking into its home from this process."""
        return Settings(home=self.home, database_url=self._environment.get("SIGNET_DATABASE_URL", ""))

    def admin(self) -> httpx.Client:
        """HTTP with the owner's key."""
        key = (self.home / "keys" / "owner.key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def add(self, artefact: Artefact) -> None:
        """Put a version behind the gateway and let it be served."""
        with self.admin() as admin:
            checked(admin.post("/v1/models", files=artefact_files(artefact)))

    def issue(self, model: str, credential: str, **terms: Any) -> Issued:
        """A license for a new customer."""
        with self.admin() as admin:
            customer = checked(admin.post("/v1/customers", json={"name": "Acme Optics"})).json()
            body = {"customer_id": customer["id"], "model": model, "credential": credential, "terms": terms}
            return issued(checked(admin.post("/v1/licenses", json=body)).json(), self.home)


def issued(answer: dict[str, Any], home: Path) -> Issued:
    """The license in the answer that issued it, its signature checked."""
    text = answer["license_file"]
    return Issued(answer["id"], text, license_file.decode(text, trust.resolve(home / "issuer.pub")))


@contextlib.contextmanager
def fresh_home() -> Iterator[Path]:
    """An empty home, gone afterwards: what is in it are secrets of no one."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RUNS, prefix="home-") as folder:
        yield Path(folder) / "home"


def artefact_files(artefact: Artefact) -> dict[str, tuple[str, bytes]]:
    """The parts of `POST /v1/models`."""
    files = {
        "manifest": (MANIFEST, artefact.manifest.to_bytes()),
        "weights": (WEIGHTS, artefact.weights),
        "calibration": (CALIBRATION, artefact.calibration),
    }
    if artefact.distillation is not None:
        files["distillation"] = (DISTILLATION, artefact.distillation)
    return files


def checked(response: httpx.Response) -> httpx.Response:
    """The response, if it is a success."""
    if not response.is_success:
        raise RuntimeError(f"{response.request.method} {response.request.url.path}: {response.text}")
    return response


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
