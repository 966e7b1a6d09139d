"""`signet` at both of its doors: the local store, and a gateway served on a loopback port."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.service.installed import owner_of
from tests.service.signet import Signet


@pytest.fixture(params=["local", "served"])
def signet(request: pytest.FixtureRequest, database: str) -> Signet:
    """Each door in turn, on each database."""
    if request.param == "local":
        local: Signet = request.getfixturevalue("local")
        return local
    return owner_of(request.getfixturevalue("served"))


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
