"""A worker of the CLI's own, for a command that waits for a job of the local store."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.api import Options

_STOP_S = 10.0


def worker_command(home: Path) -> list[str]:
    """Starts a worker that ends when no job is left, or when another worker does them."""
    return [sys.executable, "-m", "service.cli", "--home", str(home.resolve()), "worker", "--until-idle"]


@contextmanager
def working(options: Options) -> Iterator[None]:
    """A context within which the local store's jobs are done, whether `signet serve` runs or not.

    Over HTTP nothing is started: the gateway has its own. The worker may be stopped at any moment.
    """
    if options.server is not None:
        yield
        return
    command, quiet = worker_command(options.settings.home), subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=dict(os.environ))  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
