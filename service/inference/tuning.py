"""Which engine runs a version fastest on this machine: measured once the version answers, and remembered.

A version answers eagerly from the start; the engine found takes its place in one assignment. Nothing waits for it.
"""

import asyncio
import contextlib
import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog

from models import engines
from models.engines import BATCHES, ENGINES, ONNX, Forward
from models.errors import EngineError
from service.control.book import VersionRecord
from service.inference.engine import Engine
from service.inference.exporting import exported
from service.inference.loaded import Loaded
from service.keyring import write_private

log = structlog.get_logger(__name__)
EAGER = "eager"
WARM_UP = 3  # rounds before an engine is itself: the first passes specialise it
ROUNDS = 5  # of each engine in turn: the least of each counts, since neighbours only ever add
EXAMPLES = 64


class Tuner:
    """Tunes one version after the other. `wanted` are the engines to choose from, `memory` is the folder of choices,
    `registered` are the operator's own architectures."""

    def __init__(self, engine: Engine, memory: Path, wanted: Sequence[str], registered: Mapping[str, str]) -> None:
        self._engine = engine
        self._memory = memory
        self._wanted = [name for name in ENGINES if name in wanted]
        self._registered = registered
        self._queue: asyncio.Queue[VersionRecord] = asyncio.Queue()
        self._queued: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tune whatever is loaded from now on."""
        if self._wanted != [EAGER]:
            self._engine.on_loaded = self._enqueue
            self._task = asyncio.create_task(self._work())

    async def settled(self) -> None:
        """When nothing is left to tune."""
        await self._queue.join()

    async def stop(self) -> None:
        """Give up."""
        self._engine.on_loaded = lambda _: None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _enqueue(self, version: VersionRecord) -> None:
        if version.id not in self._queued:
            self._queued.add(version.id)
            self._queue.put_nowait(version)

    async def _work(self) -> None:
        while True:
            version = await self._queue.get()
            self._queued.discard(version.id)
            try:
                loaded = self._engine.in_memory(version)
                if loaded is not None:  # not gone again meanwhile
                    await self._tune(loaded)
            except Exception:  # it answers all the same
                log.exception("tuning.failed", model=version.model_name)
            finally:
                self._queue.task_done()

    async def _tune(self, loaded: Loaded) -> None:
        remembered = await asyncio.to_thread(self._remembered, loaded)
        built = await self._built(loaded, [remembered]) if remembered else {}
        if remembered is None or not built:  # what could be built once may not be there any more
            remembered, built = None, await self._built(loaded, self._wanted)
        if not built:
            return
        name = remembered or await self._fastest(loaded, built)
        self._engine.run_on(loaded, name, built[name])
        if remembered is None:
            await asyncio.to_thread(self._remember, loaded, name)

    async def _built(self, loaded: Loaded, names: Sequence[str]) -> dict[str, Forward]:
        built = {}
        for name in names:
            try:
                built[name] = await self._build(loaded, name)
            except EngineError as error:
                model = loaded.version.model_name
                log.warning("tuning.engine.left_out", model=model, engine=name, reason=error.message)
        return built

    async def _build(self, loaded: Loaded, name: str) -> Forward:
        """In a thread or a process of its own: the torch thread goes on answering."""
        examples = loaded.calibration[:EXAMPLES]
        if name != ONNX:
            return await asyncio.to_thread(engines.build, name, loaded.predictor, examples)
        forward = await asyncio.to_thread(engines.onnx_session, await exported(loaded, self._registered))
        await asyncio.to_thread(engines.check, name, forward, loaded.predictor, examples)
        return forward

    async def _fastest(self, loaded: Loaded, built: dict[str, Forward]) -> str:
        """By the least time for an image, alone and in a batch, the two weighed alike; answers come in between."""
        least: dict[str, dict[int, float]] = {name: dict.fromkeys(BATCHES, math.inf) for name in built}
        for turn in range(WARM_UP + ROUNDS):
            for name, forward in built.items():
                for batch in BATCHES:
                    shown = loaded.calibration[:batch]
                    took = await self._engine.run(partial(engines.timed, forward, shown)) / len(shown)
                    if turn >= WARM_UP:
                        least[name][batch] = min(took, least[name][batch])
        found = min(least, key=lambda name: math.prod(least[name].values()))
        microseconds = {name: [round(1e6 * each, 1) for each in times.values()] for name, times in least.items()}
        log.info("tuning.measured", model=loaded.version.model_name, chosen=found, microseconds_an_image=microseconds)
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


@cache
def machine() -> tuple[str, ...]:
    """What decides about speed: the processor, and what runs on it."""
    return platform.machine(), _processor(), *(f"{name} {_version(name)}" for name in ("torch", "onnxruntime"))


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
