"""Students ready to answer: a bounded cache, least recently used out first.

A student that is put out while it answers finishes: whoever asked holds it, and its memory goes with the last of them.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from models.checkpoints import decode_weights
from models.decoys import DecoyBank
from models.errors import ModelError
from models.predictor import Predictor, scores
from models.serial_numbers import dsn
from service.control.book import StudentRecord, VersionRecord
from service.errors import Conflict, FieldError
from service.inference.engine import RETRY_AFTER_S, Engine
from service.inference.loaded import PIECE, Loaded
from service.keyring import KeyRing
from service.students.numbers import again
from service.students.store import StudentFiles, StudentStore

log = structlog.get_logger(__name__)
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LoadedStudent:
    """A student with its own number, put into every input in place of the caller's."""

    record: StudentRecord
    teacher: Loaded
    number: torch.Tensor = field(repr=False)  # (n,)
    predictor: Predictor
    bank: DecoyBank

    @property
    def version(self) -> VersionRecord:
        """The version that it was distilled from."""
        return self.teacher.version

    def answer(self, inputs: Floats, authorized: NDArray[np.bool_]) -> Floats:
        """Scores (N, K) for inputs (N, C, H, W) on the 8-bit grid: its own where authorized, a decoy's elsewhere.

        Both are made for every row. A decoy depends on the input without its stamp, so the lie about a picture is the
        same whatever number is tried with it.
        """
        spec, stamp = self.teacher.input_spec, _stamp_of(self.teacher)
        with torch.inference_mode():
            exact = spec.from_grid(torch.from_numpy(spec.to_grid(inputs)))
            logits = self.predictor(stamp.put(exact, self.number))  # (N, C, H, W) -> (N, K)
            blank = spec.to_grid(stamp.put(exact, torch.zeros_like(self.number)))
            decoys = self.bank.draw(self.teacher.decoy_secret, self.version.digest, blank)
            answers: Floats = scores(self.teacher.control(logits, decoys, torch.from_numpy(authorized))).numpy()
        return answers


class StudentCache:
    """Loads students when they are asked for and keeps the `most` that were asked for last."""

    def __init__(self, engine: Engine, ring: KeyRing, store: StudentStore, most: int) -> None:
        self._engine = engine
        self._ring = ring
        self._store = store
        self._most = most
        self._loaded: OrderedDict[str, asyncio.Task[LoadedStudent]] = OrderedDict()
        self._failed: dict[str, tuple[float, FieldError]] = {}

    @property
    def kept(self) -> tuple[str, ...]:
        """Ids of those in the cache, the next to go first."""
        return tuple(self._loaded)

    def forget(self, version: VersionRecord) -> None:
        """Let go of a version's students: each holds its teacher. Whoever is being answered by one is."""
        done = {id: task for id, task in self._loaded.items() if task.done() and not task.cancelled()}
        for id, task in done.items():
            if task.exception() is None and task.result().version.id == version.id:
                del self._loaded[id]

    async def load(self, student: StudentRecord, teacher: Loaded) -> LoadedStudent:
        """The student, loaded now or before.

        Raises:
            Conflict: its files were tampered with or do not fit its version; tried again after some seconds.
        """
        failed_at, failure = self._failed.get(student.id, (0.0, None))
        if failure is not None and time.monotonic() - failed_at < RETRY_AFTER_S:
            raise Conflict(failure.field, failure.message)
        task = self._loaded.get(student.id)
        if task is None:
            task = self._loaded[student.id] = asyncio.create_task(self._load(student, teacher))
            while len(self._loaded) > self._most:
                self._loaded.popitem(last=False)
        else:
            self._loaded.move_to_end(student.id)
        try:
            return await asyncio.shield(task)
        except Exception:  # whatever it was, the next to ask has it loaded again
            if self._loaded.get(student.id) is task:
                del self._loaded[student.id]
            raise

    async def _load(self, student: StudentRecord, teacher: Loaded) -> LoadedStudent:
        try:
            files = await asyncio.to_thread(self._store.read, student.id, student.digest)
            loaded = await self._prepare(student, teacher, files)
        except (ModelError, Conflict) as error:  # Conflict: the ring has not the issuer key any more
            log.error("students.unusable", student=student.id, reason=str(error))
            failure = FieldError("student", "the license's student cannot be served: its files fail their check")
            self._failed[student.id] = time.monotonic(), failure
            raise Conflict(failure.field, failure.message) from error
        log.info("students.loaded", student=student.id, model=teacher.version.model_name)
        return loaded

    async def _prepare(self, student: StudentRecord, teacher: Loaded, files: StudentFiles) -> LoadedStudent:
        """Its decoys' profiles are its own answers to the stamped calibration set; answers of others come between."""
        predictor, number = await self._engine.run(partial(_build, self._ring, student, teacher, files))
        starts = range(0, len(teacher.calibration), PIECE)
        pieces = [await self._engine.run(partial(_logits, predictor, number, teacher, start)) for start in starts]
        bank = await self._engine.run(lambda: DecoyBank(torch.cat(pieces)))
        return LoadedStudent(student, teacher, number, predictor, bank)

    async def stop(self) -> None:
        """Give up what is being loaded."""
        loading = [task for task in self._loaded.values() if not task.done()]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)


def _build(
    ring: KeyRing, student: StudentRecord, teacher: Loaded, files: StudentFiles
) -> tuple[Predictor, torch.Tensor]:
    if teacher.students is None:
        raise Conflict("student", "the version has no students")
    network = teacher.students.student()
    decode_weights(network, files.weights)
    number = again(ring, student.statement, student.issuer_key_id, teacher.students.layout.bits)
    return Predictor(network, teacher.input_spec, files.manifest.output_spec), torch.from_numpy(number.bits)


def _logits(predictor: Predictor, number: torch.Tensor, teacher: Loaded, start: int) -> torch.Tensor:
    with torch.inference_mode():
        stamped = _stamp_of(teacher).put(teacher.calibration[start : start + PIECE], number)
        logits: torch.Tensor = predictor(stamped)
    return logits


def _stamp_of(teacher: Loaded) -> dsn.Stamp:
    assert teacher.stamp is not None, "students are of versions with serial numbers"  # noqa: S101
    return teacher.stamp
