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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, cast

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from models import checkpoints, networks
from models.checkpoints import Manifest
from models.decoys import DecoyBank
from models.engines import Forward
from models.errors import AllotmentError, ModelError, SpecError, WeightsError
from models.fingerprints.activeguard.control_layer import ControlLayer
from models.fingerprints.activeguard.scheme import FingerprintScheme
from models.predictor import Predictor
from models.predictor import scores as scores_of
from models.serial_numbers.dsn import Policy, Stamp
from models.specs import InputSpec, OutputSpec
from service.catalogue.artefacts import Artefact, ArtefactStore
from service.control.book import VersionRecord
from service.errors import Conflict, FieldError
from service.keyring import KeyRing

log = structlog.get_logger(__name__)
Floats = NDArray[np.float32]
Result = TypeVar("Result")
RETRY_AFTER_S = 5.0  # reading a broken version again for every stranger would cost more than serving a sound one
PIECE = 64  # calibration inputs in one turn of the torch thread: answers wait no longer than for each other


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to answer."""

    version: VersionRecord
    manifest: Manifest
    fingerprints: FingerprintScheme
    predictor: Predictor
    bank: DecoyBank
    control: ControlLayer
    calibration: torch.Tensor  # (M, C, H, W) raw range
    decoy_secret: bytes
    students: Policy | None = None  # how they are made, and the stamp that they want; None where it has none
    stamp: Stamp | None = None
    engine: str = "eager"
    forward: Forward | None = field(default=None, repr=False)  # that engine; None: the predictor itself

    @property
    def input_spec(self) -> InputSpec:
        """What it takes."""
        return self.manifest.input_spec

    @property
    def output_spec(self) -> OutputSpec:
        """What it gives."""
        return self.manifest.output_spec

    @property
    def nbytes(self) -> int:
        """Of what it holds in memory: weights, calibration inputs, the profiles that decoys are drawn from."""
        weights = sum(int(tensor.nbytes) for tensor in self.predictor.state_dict().values())
        copies = 1 if self.forward is None else 2
        return copies * weights + int(self.calibration.nbytes) + self.bank.nbytes

    def numbers(self, inputs: Floats, spec: InputSpec) -> NDArray[np.int8]:
        """The serial numbers (N, n) that inputs (N, C, H, W), decoded as `spec` says, show; -1 where a bit is none.

        Off the 8-bit grid none is read: such an input is not one that anybody stamped.
        """
        assert self.stamp is not None, "a version without serial numbers"  # noqa: S101 - the caller looks
        exact = torch.from_numpy(self.input_spec.from_grid(spec.to_grid(inputs)))
        shown: NDArray[np.int8] = self.stamp.read(exact).numpy()
        shown[~spec.is_on_grid(inputs)] = -1
        return shown

    def answer(self, inputs: Floats, authorized: NDArray[np.bool_]) -> Floats:
        """Scores (N, K) for inputs (N, C, H, W): the network's where authorized, a decoy's elsewhere.

        Both are made for every row, so that the two take the same work.
        """
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(inputs))
            logits = self.predictor(batch) if self.forward is None else self.forward(batch)  # (N, C, H, W) -> (N, K)
            decoys = self.bank.draw(self.decoy_secret, self.version.digest, self.input_spec.to_grid(inputs))
            controlled = self.control(logits, decoys, torch.from_numpy(authorized))
            scores: Floats = scores_of(controlled).numpy()
        return scores


def build(artefact: Artefact) -> Predictor:
    """The network of an artefact with its weights, as the graph that is served.

    Raises:
        SpecError, WeightsError: the network cannot be built, or the weights are not its own.
    """
    manifest = artefact.manifest
    network = networks.build(manifest.network, manifest.network_config)
    checkpoints.decode_weights(network, artefact.weights)
    return Predictor(network, manifest.input_spec, manifest.output_spec)


def fingerprints_of(artefact: Artefact) -> FingerprintScheme:
    """The fingerprints a version may allot.

    Raises:
        AllotmentError: the manifest asks for what cannot exist.
    """
    classes, asked = artefact.manifest.output_spec.classes, artefact.manifest.fingerprints
    epsilon, longest = cast(float, asked["epsilon"]), cast(int, asked["longest"])
    confidences = cast("list[float] | None", asked["confidences"])
    try:
        return FingerprintScheme.of(str(asked["code"]), classes, epsilon, confidences, longest)
    except AllotmentError as error:
        raise AllotmentError(f"fingerprints.{error.field}", error.message) from None


def policy_of(artefact: Artefact) -> Policy | None:
    """How its students are made; None where it has none.

    Raises:
        SerialNumberError: the manifest asks for what cannot be, or what students learn from does not fit.
    """
    manifest = artefact.manifest
    if manifest.serial_numbers is None or artefact.distillation is None:
        return None
    policy = Policy.from_dict(manifest.serial_numbers)
    policy.check(manifest.input_spec, manifest.output_spec)
    checkpoints.decode_distillation(artefact.distillation, manifest.input_spec)
    return policy


@dataclass(frozen=True, slots=True)
class _Draft:
    """A version whose network is built and has answered nothing yet."""

    predictor: Predictor
    calibration: torch.Tensor  # (M, C, H, W) raw range
    fingerprints: FingerprintScheme
    students: Policy | None

    @classmethod
    def of(cls, artefact: Artefact) -> "_Draft":
        predictor = build(artefact)
        calibration = checkpoints.decode_calibration(artefact.calibration, artefact.manifest.input_spec)
        return cls(predictor, calibration, fingerprints_of(artefact), policy_of(artefact))

    def logits(self, start: int) -> torch.Tensor:
        """Logits (n, K) of the calibration inputs from `start` on, n = 64 or what is left.

        Raises:
            ModelError: the network does not take such inputs, or its answers are not numbers.
        """
        try:
            with torch.inference_mode():
                logits: torch.Tensor = self.predictor(self.calibration[start : start + PIECE])
        except ModelError:
            raise
        except Exception as error:  # a foreign network may fail in any way; the version is at fault, not the gateway
            raise SpecError("input_spec.shape", "the network does not take inputs of this shape") from error
        if not bool(torch.isfinite(logits).all()):
            raise WeightsError("weights", "the network answers its calibration inputs with NaN or infinite values")
        return logits

    def loaded(self, artefact: Artefact, version: VersionRecord, ring: KeyRing, logits: list[torch.Tensor]) -> Loaded:
        """Ready to answer, with the pieces of the calibration set's logits."""
        return Loaded(
            version,
            artefact.manifest,
            self.fingerprints,
            self.predictor,
            DecoyBank(torch.cat(logits)),
            ControlLayer(self.fingerprints.allotment.confidences, self.fingerprints.epsilon),
            self.calibration,
            # The oldest root, so that the lie stays the same when the ring rotates.
            ring.derive("decoy", version.digest, root=ring.oldest_root),
            self.students,
            None if self.students is None else self.students.stamp(artefact.manifest.input_spec),
        )


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
        draft = await self.run(lambda: _Draft.of(artefact))
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
