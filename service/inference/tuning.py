"""Which engine runs a version fastest on this machine: measured once the version answers, and remembered.

A version answers eagerly from the start; the engine found takes its place in one assignment. Nothing waits for it.
"""

import asyncio
import contextlib
import hashlib
import math
import platform
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
import torch

from models import engines
from models.engines import BATCHES, ENGINES, Forward
from models.errors import EngineError
from service.inference.engine import Engine, Loaded
from service.keyring import write_private

log = structlog.get_logger(__name__)
EAGER = "eager"
ROUNDS = 5  # of each engine in turn: the least of each counts, since neighbours only ever add
EXAMPLES = 64


class Tuner:
    """Tunes one version after the other. `wanted` are the engines to choose from, `memory` is the folder of choices."""

    def __init__(self, engine: Engine, memory: Path, wanted: Sequence[str]) -> None:
        self._engine = engine
        self._memory = memory
        self._wanted = [name for name in ENGINES if name in wanted]
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Tune whatever is loaded from now on."""
        if self._wanted != [EAGER]:
            self._engine.on_loaded = self._begin

    async def settled(self) -> None:
        """When nothing is being tuned any more."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Give up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, loaded: Loaded) -> None:
        task = asyncio.create_task(self._try_to_tune(loaded))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try_to_tune(self, loaded: Loaded) -> None:
        try:
            async with self._turn:
                await self._tune(loaded)
        except Exception:  # it answers all the same
            log.exception("tuning.failed", model=loaded.version.model_name)

    async def _tune(self, loaded: Loaded) -> None:
        examples, remembered = loaded.calibration[:EXAMPLES], self._remembered(loaded)
        built = await self._built(loaded, examples, [remembered] if remembered else self._wanted)
        if remembered in built:
            self._engine.run_on(loaded, remembered, built[remembered])
        elif built:
            name = await self._fastest(loaded, built, examples)
            self._engine.run_on(loaded, name, built[name])
            await asyncio.to_thread(self._remember, loaded, name)

    async def _built(self, loaded: Loaded, examples: torch.Tensor, names: Sequence[str]) -> dict[str, Forward]:
        built = {}
        for name in names:
            try:
                # In a thread of its own: the torch thread goes on answering.
                built[name] = await asyncio.to_thread(engines.build, name, loaded.predictor, examples)
            except EngineError as error:
                log.warning(
                    "tuning.engine.left_out", model=loaded.version.model_name, engine=name, reason=error.message
                )
        return built

    async def _fastest(self, loaded: Loaded, built: dict[str, Forward], examples: torch.Tensor) -> str:
        """By the least time for an image, alone and in a batch, the two weighed alike; answers come in between."""
        least: dict[str, dict[int, float]] = {name: {} for name in built}
        for _ in range(ROUNDS):
            for name, forward in built.items():
                for batch in BATCHES:
                    took = await self._engine.run(partial(engines.timed, forward, examples[:batch]))
                    least[name][batch] = min(took / batch, least[name].get(batch, took))
        found = min(least, key=lambda name: math.prod(least[name].values()))
        shown = {name: [round(1e6 * each, 1) for each in times.values()] for name, times in least.items()}
        log.info("tuning.measured", model=loaded.version.model_name, chosen=found, microseconds_an_image=shown)
        return found

    def _remembered(self, loaded: Loaded) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            name = (self._memory / self._key(loaded)).read_text()
            return name if name in self._wanted else None
        return None

    def _remember(self, loaded: Loaded, name: str) -> None:
        try:
            write_private(self._memory / self._key(loaded), name)
        except OSError as error:  # it is measured again after the next start
            log.warning("tuning.not_remembered", reason=type(error).__name__)

    def _key(self, loaded: Loaded) -> str:
        """Of the version, of this machine and of what was tried; another of either is measured anew."""
        about = [loaded.version.digest.hex(), *machine(), *self._wanted]
        return hashlib.sha256("\0".join(about).encode()).hexdigest()


def machine() -> list[str]:
    """What decides about speed: the processor, and what runs on it."""
    return [platform.machine(), _processor(), *(f"{name} {_version(name)}" for name in ("torch", "onnxruntime"))]


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
