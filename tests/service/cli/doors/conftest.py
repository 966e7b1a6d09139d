"""`signet` at both of its doors: the local store, and a gateway served on a loopback port."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from models import data
from service.catalogue.artefacts import Artefact, write_folder
from service.cli.main import app
from tests.service.asking import sample
from tests.service.serving import Served


@dataclass(frozen=True)
class Signet:
    """The command, over a home; with a server's URL, against that server."""

    home: Path
    server: str | None = None

    def __call__(self, *words: str | Path, **environment: str) -> Result:
        before = ["--home", str(self.home), *(["--server", self.server] if self.server else [])]
        clean = {"SIGNET_SERVER": "", "SIGNET_HOME": "", "SIGNET_ADMIN_KEY_FILE": "", "COLUMNS": "200"}
        unset: dict[str, str | None] = {name: value or None for name, value in {**clean, **environment}.items()}
        return CliRunner().invoke(app, [*before, *map(str, words)], env=unset)

    def says(self, *words: str | Path) -> str:
        """Standard output of a command that does what it is told."""
        result = self(*words)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def json(self, *words: str | Path) -> Any:
        """`--json`: nothing else on standard output."""
        return json.loads(self.says("--json", *words))

    def refuses(self, *words: str | Path, **environment: str) -> str:
        """Standard error of a command that says no: in words, with an exit code, and nothing on standard output."""
        result = self(*words, **environment)
        assert isinstance(result.exception, SystemExit), (result.output, repr(result.exception))
        assert result.exit_code in (1, 2), result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact) -> Path:
    """The digits model as a folder, for `signet model add`."""
    folder = tmp_path_factory.mktemp("artefact") / "digits"
    write_folder(folder, artefact)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, digits: data.Dataset) -> list[Path]:
    """Eight held-out digits, named after what they show."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(8):
        (folder / f"{digits.test.labels[index]}-{index}.png").write_bytes(sample(digits, index))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Signet:
    """The owner's machine, with the digits model."""
    signet = Signet(tmp_path_factory.mktemp("local") / "home")
    signet.says("model", "add", folder)
    return signet


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Served]:
    """A gateway on a port, with the digits model."""
    gateway = Served(tmp_path_factory.mktemp("served") / "home", SIGNET_ENVIRONMENT="production").start()
    Signet(gateway.home, gateway.url).says("model", "add", folder)
    yield gateway
    gateway.stop()


@pytest.fixture(params=["local", "served"])
def signet(request: pytest.FixtureRequest) -> Signet:
    """Each door in turn."""
    if request.param == "local":
        local: Signet = request.getfixturevalue("local")
        return local
    served: Served = request.getfixturevalue("served")
    return Signet(served.home, served.url)


@pytest.fixture
def customer(signet: Signet) -> str:
    """A customer's id."""
    identifier: str = signet.json("customer", "add", "Acme Optics")["id"]
    return identifier


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>It works!</html>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def http_server() -> Iterator[str]:
    """A server that is no gateway."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
