"""A gateway as a process of its own, on a loopback port: what `signet serve` starts."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SIGNET = [sys.executable, "-c", "from service.cli.main import app; app(prog_name='signet')"]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """`signet serve` over a home. `start` returns when it is ready."""

    def __init__(self, home: Path, *, tls: tuple[Path, Path] | None = None, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._options = ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])] if tls else []
        self._trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=tls[0]) if tls else False
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SIGNET_")},
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client"), os.environ.get("PYTHONPATH", "")]),
            "SIGNET_HOME": str(home),
            "SIGNET_ENGINES": "eager",
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, seconds: float = 60) -> "Served":
        log = (self.home.parent / "served.log").open("a")
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [*SIGNET, "serve", "--port", str(self.port), *self._options],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        log.close()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.logged
            try:
                if httpx.get(f"{self.url}/v1/health/ready", trust_env=False, verify=self._trusted).is_success:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready after {seconds} s:\n{self.logged}")

    @property
    def logged(self) -> str:
        """What all its processes wrote on standard error."""
        return (self.home.parent / "served.log").read_text()

    def stop(self, by: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Exit code, and what it said on standard output."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(by)
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said
