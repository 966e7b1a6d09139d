"""The `signet` command as a test types it: over a home, at the local store or at a gateway."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from click.testing import Result
from typer.testing import CliRunner

from service.cli.main import app

# What whoever runs the tests may have set, and tables wide enough not to be folded.
BARE = {"SIGNET_SERVER": "", "SIGNET_ADMIN_KEY_FILE": "", "SIGNET_DATABASE_URL": "", "COLUMNS": "200"}


@dataclass(frozen=True)
class Signet:
    """`signet("customer", "list")`: what it prints, and its exit code. With a server's URL, against that server."""

    home: Path
    server: str | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, *words: object, **environment: str) -> Result:
        server = ["--server", self.server] if self.server else []
        line = ["--home", str(self.home), *server, *map(str, words)]
        with logging_kept():
            return CliRunner().invoke(app, line, env={**self.environment, **environment})

    def said(self, *words: object, **environment: str) -> str:
        """Standard output of a command that succeeds."""
        result = self(*words, **environment)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def json(self, *words: object) -> Any:
        """`--json`: nothing else on standard output."""
        return json.loads(self.said("--json", *words))

    def refused(self, *words: object, **environment: str) -> str:
        """Standard error of a command that fails as it should: words, no traceback, nothing on standard output."""
        result = self(*words, **environment)
        assert isinstance(result.exception, SystemExit), (result.output, repr(result.exception))
        assert result.exit_code in (1, 2), result.output
        assert result.stdout == ""
        assert any(line.startswith(("error ", "Usage: ")) for line in result.stderr.splitlines()), result.stderr
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.replace("│", " ").split())


@contextmanager
def logging_kept() -> Iterator[None]:
    """Each command sets up this process' logging for itself; whoever is tested next finds it as it was."""
    configured = structlog.get_config()
    loggers = [logging.getLogger(name) for name in (None, "uvicorn.access")]
    kept = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        structlog.configure(**configured)
        for logger, handlers, level, propagate in kept:
            logger.handlers = handlers
            logger.setLevel(level)
            logger.propagate = propagate
