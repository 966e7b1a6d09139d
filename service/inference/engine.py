"""The only door to the served networks: load by version, answer a batch. Networks answer in one thread of its own.

Strict float32 on one engine, for authentication as for answers: lower precision moves a fingerprint's confidence by
more than the tolerance.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from models.engines import Forward
from models.errors import ModelError
from service.catalogue.artefacts import Artefact, ArtefactStore
from service.control.book import VersionRecord
from service.errors import Conflict, FieldError
from service.inference.loaded import PIECE, Draft, Loaded
from service.keyring import KeyRing

log = structlog.get_logger(__name__)
Floats = NDArray[np.float32]
Result = TypeVar("Result")
RETRY_AFTER_S = 5.0  # reading a broken version again for every stranger would cost more than serving a sound one


class Engine:
    """Loads versions and keeps them, up to so many bytes: beyond, those go that were asked for longest ago.

    A version that goes while it answers finishes: whoever asked holds it. Runs work in the torch thread.
    """

    def __init__(self, store: ArtefactStore, ring: KeyRing, most_bytes: int) -> None:
        self._store = store
        self._ring = ring
        self._most_bytes = most_bytes
        self._thread = ThreadPoolExecutor(1, "torch", initializer=one_core)
        self._loaded: OrderedDict[str, asyncio.Future[Loaded]] = OrderedDict()  # by version, the next to go first
        self._loading = asyncio.Lock()  # one at a time: what is being loaded is in memory too
        self.on_loaded: Callable[[VersionRecord], None] = lambda _: None
        self.on_gone: Callable[[VersionRecord], None] = lambda _: None
        self._failed: dict[str, tuple[float, FieldError]] = {}

    async def load(self, version: VersionRecord) -> Loaded:
        """The version, loaded now or before.

        Raises:
            Conflict: its files were tampered with or do not fit together; tried again after some seconds.
        """
        if self.failed_lately(version):
            _, failure = self._failed[version.id]
            raise Conflict(failure.field, failure.message)
        task = self._loaded.get(version.id)
        if task is None:
            task = asyncio.create_task(self._load(version))
            self._loaded[version.id] = task
        self._loaded.move_to_end(version.id)
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._loaded.get(version.id) is task:
                del self._loaded[version.id]
            raise

    def in_memory(self, version: VersionRecord) -> Loaded | None:
        """The version, if it answers without being loaded first."""
        task = self._loaded.get(version.id)
        return task.result() if task is not None and _is_sound(task) else None

    def is_warm(self, version: VersionRecord) -> bool:
        """Whether it is in memory."""
        return self.in_memory(version) is not None

    def forget(self, ids: Set[str]) -> None:
        """Let go of versions. One that is being loaded stays: ask again."""
        for id in ids & self._loaded.keys():
            if _is_sound(self._loaded[id]):
                self._let_go(self._loaded[id].result())

    def run_on(self, loaded: Loaded, engine: str, forward: Forward) -> None:
        """Have a version answer by another engine from now on, if it is still in memory."""
        if self.in_memory(loaded.version) is not loaded or engine == loaded.engine:
            return
        tuned: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        tuned.set_result(replace(loaded, engine=engine, forward=forward))
        self._loaded[loaded.version.id] = tuned
        self._make_room(tuned.result())

    def retry(self, version: VersionRecord) -> None:
        """Forget that it did not load: whoever asks next tries again at once."""
        self._failed.pop(version.id, None)

    def failure(self, version: VersionRecord) -> str | None:
        """Why a version could not be served when that was tried last; None where nothing is known to be wrong."""
        return self._failed[version.id][1].message if version.id in self._failed else None

    def failed_lately(self, version: VersionRecord) -> bool:
        """Whether it is too early to try again."""
        failed_at, _ = self._failed.get(version.id, (float("-inf"), None))
        return time.monotonic() - failed_at < RETRY_AFTER_S

    async def try_load(self, version: VersionRecord) -> None:
        """Load a version ahead of its first request. One that does not load is logged; the others are served."""
        with contextlib.suppress(Conflict):
            await self.load(version)

    async def try_out(self, artefact: Artefact) -> None:
        """Build an artefact and run its calibration set, keeping nothing.

        Raises:
            ModelError: naming the part that does not hold.
        """
        version = VersionRecord("", artefact.manifest.name, 0, "", artefact.digest, 0, 1)
        await self._prepare(artefact, version)

    async def _load(self, version: VersionRecord) -> Loaded:
        try:
            async with self._loading:
                artefact = await asyncio.to_thread(self._store.read, version.model_name, version.number, version.digest)
                loaded = await self._prepare(artefact, version)
        except Exception as error:  # whatever it is, it is this version's trouble and not the others'
            field = error.field if isinstance(error, ModelError) else "version"
            reason = str(error) if isinstance(error, ModelError) else type(error).__name__
            log.error("engine.version.unusable", model=version.model_name, version=version.number, reason=reason)
            failure = FieldError(field, "this version cannot be served: its files fail their check, or cannot be read")
            self._failed[version.id] = time.monotonic(), failure
            raise Conflict(failure.field, failure.message) from error
        log.info("engine.version.loaded", model=version.model_name, version=version.number)
        self._failed.pop(version.id, None)
        self._make_room(loaded)
        asyncio.get_running_loop().call_soon(self.on_loaded, version)
        return loaded

    def _kept(self) -> dict[str, Loaded]:
        """What is in memory, the next to go first."""
        return {id: task.result() for id, task in self._loaded.items() if _is_sound(task)}

    def _make_room(self, newest: Loaded) -> None:
        others = {id: each for id, each in self._kept().items() if id != newest.version.id}
        over = newest.nbytes + sum(each.nbytes for each in others.values()) - self._most_bytes
        for each in others.values():
            if over <= 0:
                return
            self._let_go(each)
            over -= each.nbytes

    def _let_go(self, loaded: Loaded) -> None:
        del self._loaded[loaded.version.id]
        self.on_gone(loaded.version)
        log.info("engine.version.gone", model=loaded.version.model_name, version=loaded.version.number)

    async def _prepare(self, artefact: Artefact, version: VersionRecord) -> Loaded:
        """Everything that answering needs, warmed up with the calibration set: piece by piece, answers in between."""
        draft = await self.run(lambda: Draft.of(artefact))
        starts = range(0, len(draft.calibration), PIECE)
        logits = [await self.run(partial(draft.logits, start)) for start in starts]
        return await self.run(lambda: draft.loaded(artefact, version, self._ring, logits))

    async def run(self, work: Callable[[], Result]) -> Result:
        """`work()` in the torch thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def stop(self) -> None:
        """Give up what is being loaded, and let the thread finish what it has begun."""
        loading = [task for task in self._loaded.values() if not task.done()]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        self._thread.shutdown(wait=True, cancel_futures=True)


def _is_sound(task: asyncio.Future[Loaded]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def one_core() -> None:
    """For a thread that runs torch: no helpers."""
    # A second intra-op thread beside a busy neighbour ran 25 to 38 times slower than one.
    torch.set_num_threads(1)
