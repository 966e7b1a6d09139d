"""Gateways that many tests share, as an operator has them: homes on a disk and processes on a port."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from models import data
from service.catalogue.artefacts import Artefact, write_folder
from tests.service import conftest
from tests.service.asking import sample
from tests.service.serving import Served
from tests.service.signet import BARE, Signet


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which kind of it the shared gateways stand on."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def new_database(database: str, postgres_template: tuple[str, str] | None) -> Iterator[Callable[[], str]]:
    """`SIGNET_DATABASE_URL` of a new home: empty for the SQLite file within, else a PostgreSQL database of its own."""
    if database == "postgresql" and postgres_template is None:
        pytest.skip("no PostgreSQL answers at SIGNET_TEST_DATABASE_URL")
    server = postgres_template[0] if postgres_template else ""
    with ExitStack() as made:
        yield lambda: made.enter_context(_in_postgres(server)) if database == "postgresql" else ""


@contextmanager
def _in_postgres(server: str) -> Iterator[str]:
    name = f"signet_{secrets.token_hex(6)}"
    asyncio.run(conftest._sql(f"{server}/postgres", f"CREATE DATABASE {name}"))
    yield f"{server}/{name}"
    asyncio.run(conftest._sql(f"{server}/postgres", f"DROP DATABASE {name} WITH (FORCE)"))


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
def local(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], folder: Path) -> Signet:
    """The owner's machine, with the digits model."""
    environment = {**BARE, "SIGNET_DATABASE_URL": new_database()}
    signet = Signet(tmp_path_factory.mktemp("local") / "home", environment=environment)
    signet.said("model", "add", folder)
    return signet


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], folder: Path) -> Iterator[Served]:
    """A gateway on a port, with the digits model."""
    home = tmp_path_factory.mktemp("served") / "home"
    gateway = Served(home, SIGNET_ENVIRONMENT="production", SIGNET_DATABASE_URL=new_database())
    try:
        gateway.start()
        owner_of(gateway).said("model", "add", folder)
        yield gateway
    finally:
        gateway.stop()


def owner_of(served: Served) -> Signet:
    """`signet --server URL`, with the keys of its home."""
    return Signet(served.home, served.url, BARE)
