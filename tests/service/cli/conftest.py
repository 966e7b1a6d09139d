"""The `signet` command over a home of the test's own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest
from typer.testing import CliRunner

from service import logs
from service.cli.home import prepare
from service.cli.main import app
from service.settings import Settings


class Signet:
    """`signet("customer", "list")`: what it prints, and its exit code."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: object) -> click.testing.Result:
        line = ["--home", str(self.home), *map(str, arguments)]
        return CliRunner().invoke(app, line)

    def refused(self, *arguments: object) -> str:
        """The words of a command that fails as it should: no traceback, nothing on standard output."""
        result = self(*arguments)
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.stderr.startswith("error ")
        assert "Traceback" not in result.output
        return result.stderr

    def said(self, *arguments: object) -> str:
        """The words of a command that succeeds."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("SIGNET_", "PORT", "COLUMNS"))]:
        monkeypatch.delenv(name)
    yield
    logs.configure("production")  # a command makes them quieter


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
