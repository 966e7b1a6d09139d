"""`signet worker`: the process that distils students and does what else takes long."""

import asyncio
import os
import sys
from typing import Annotated

import structlog
import typer

from service.cli.api import Options, require_home

ANOTHER = 3  # exit code: another worker is at it
_NICE = 10  # those who are served come first


def worker(
    context: typer.Context,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when no job is left, or when another worker does them.")
    ] = False,
) -> None:
    """Do the jobs of this home, one at a time: distil students. `signet serve` starts one whenever there is a job.

    It may be killed at any moment; the next one goes on where it was. One works at a time, others wait for it to end.
    """
    options: Options = context.obj
    require_home(options.settings)
    threads = str(options.settings.worker_threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads  # before torch is imported: what it starts later is bounded by it
    os.nice(_NICE)
    from models import networks
    from service import logs
    from service.cli.home import prepare
    from service.jobs.worker import work

    prepare(options.settings)
    logs.configure(options.settings.environment)
    for name, target in options.settings.networks.items():
        networks.allow(name, target)
    try:
        alone = asyncio.run(work(options.settings, until_idle=until_idle))
    except KeyboardInterrupt:  # Ctrl-C is how one stops it
        _leave(0)
    except Exception:  # the database went away, say: whoever supervises starts another
        structlog.get_logger(__name__).exception("worker.ended")
        _leave(1)
    if not alone:
        raise typer.Exit(ANOTHER)


def _leave(code: int) -> None:
    """At once. A thread may be in the middle of a batch, but what counts of it is on the disk or will be done again."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
