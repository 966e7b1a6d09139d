"""A worker that kills itself (SIGKILL) once it has done what a step does, before anybody noted that it had.

    python -m tests.service.jobs.dying HOME STEP

With STEP `distil`, in the middle of its second epoch; `started.txt` in the home has the first batch of each try.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from service import logs
from service.jobs import running, worker
from service.jobs.tables import JobKind
from service.settings import Settings
from service.students import teaching


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(step: Any) -> Any:
    async def done_and_dead(*given: Any) -> Any:
        await step(*given)
        die()

    return done_and_dead


def main(home: Path, dies_at: str) -> None:
    logs.configure("production")
    work, taught = running.WORK[JobKind.DISTILLATION], teaching.distil
    steps = tuple((name, after(step) if name == dies_at != "distil" else step) for name, step in work.steps)
    running.WORK[JobKind.DISTILLATION] = running.Work(steps, work.clear)

    def watched(*given: Any, on_batch: Any, **options: Any) -> Any:
        batches = 0

        def note(done: int, total: int) -> None:
            nonlocal batches
            on_batch(done, total)
            if batches == 0:
                with (home / "started.txt").open("a") as file:
                    file.write(f"{done}\n")
            batches += 1
            if dies_at == "distil" and done == total // 3 + 2:
                die()

        return taught(*given, on_batch=note, **options)

    teaching.distil = watched
    asyncio.run(worker.work(Settings(home=home), until_idle=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
