"""The `signet` command over a home of the test's own."""

import os
import shutil
from pathlib import Path

import pytest

from service.cli.home import prepare
from service.settings import Settings
from tests.service.signet import Signet


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SIGNET_", "PORT", "COLUMNS"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def signet(tmp_path: Path) -> Signet:
    """Nothing is there yet."""
    return Signet(tmp_path / "home")


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    prepare(Settings(home=home, database_url=""))
    return home


@pytest.fixture
def at_home(signet: Signet, _made: Path) -> Signet:
    """What a first start leaves, without a model."""
    shutil.copytree(_made, signet.home)
    return signet
