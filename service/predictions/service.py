"""One prediction, leg by leg, in the design's order."""

import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request

from models.specs import InputSpec, OutputSpec
from service.addresses import address_of
from service.control.book import LicenseRecord, ModelRecord, VersionRecord
from service.control.caller import STRANGERS, model_named, proof_of, shown_secret
from service.control.decision import Decision, stands
from service.control.stamps import Shown, identify_stamped, read_stamps
from service.control.verdict import Ask, Code, judge
from service.errors import Conflict, ModelUnloaded, NotFound
from service.gateway import Gateway
from service.inference.batcher import Patience, Served, Timing
from service.inference.loaded import Loaded
from service.inputs.body import receive, threaded
from service.licenses.terms import Operation
from service.sessions.service import serving_version

Floats = NDArray[np.float32]
Encoded = TypeVar("Encoded")
_WRITTEN = 16  # bytes of a score in JSON: what says whether an answer is written in a thread


def version_asked(model: ModelRecord, number: int | None, license: LicenseRecord | None = None) -> VersionRecord:
    """The version a request names; or else the one that a license's serial number belongs to, or the one being served.

    Raises:
        NotFound: no such version, or it is retired. Conflict: none is named and none is served. ModelUnloaded.
    """
    if model.unloaded:
        raise ModelUnloaded
    if number is None:
        bound = (license.bound_to if license else None) or 0
        return model.versions[bound] if model.is_in_use(bound) else serving_version(model)
    if not model.is_in_use(number):
        raise NotFound("version", "no such version of this model is available")
    return model.versions[number]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Inputs (N, C, H, W), and what stood beside them in the body: a token or key, microseconds that it may wait."""

    inputs: Floats
    secret: str | None = field(default=None, repr=False)
    timeout_us: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version says to the inputs: scores (N, K)."""

    version: int
    output_spec: OutputSpec
    scores: Floats


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks which version of a model (None: the one that is served): what the headers and the connection show."""

    model: ModelRecord
    number: int | None
    secret: str | None = field(repr=False)
    address: str
    gone: Callable[[], Awaitable[bool]]  # whether the caller has left
    since_ns: int

    def patience(self, timeout_us: int | None) -> Patience:
        """How long an answer is waited for."""
        return Patience(None if timeout_us is None else self.since_ns + 1_000 * timeout_us, self.gone)


Decode = Callable[[InputSpec], Awaitable[Decoded]]
Encode = Callable[[Answer], Encoded]


async def answer(gateway: Gateway, call: Call, decode: Decode, encode: Encode[Encoded]) -> Encoded:
    """The answer to one request, in whatever encoding it came.

    `decode` and `encode` are called once each, in its turn. A credential that only the body shows is seen after
    decoding: until then its holder is one of the strangers, and asks the version that they would ask.

    Raises:
        SessionInvalid, InvalidInput, NotFound, Refused, Unlicensed, Overloaded, TooManyRequests: nothing was consumed.
    """
    began, spent = time.perf_counter_ns(), _Spent()
    asked = gateway.statistics.of(version_asked(call.model, call.number).id)
    try:
        found = await _answered(gateway, call, decode, encode, spent)
    except Exception:
        asked.fail.add(time.perf_counter_ns() - began)
        raise
    statistics = gateway.statistics.of(spent.version_id)
    statistics.success.add(time.perf_counter_ns() - began)
    statistics.queue.add(spent.timing.queue_ns)
    statistics.compute_input.add(spent.input_ns)
    statistics.compute_infer.add(spent.timing.infer_ns)
    statistics.compute_output.add(spent.output_ns)
    return found


@dataclass(slots=True)
class _Spent:
    """Where one request's time went, and which version answered it."""

    version_id: str = ""
    input_ns: int = 0
    output_ns: int = 0
    timing: Timing = field(default_factory=Timing)


async def _answered(gateway: Gateway, call: Call, decode: Decode, encode: Encode[Encoded], spent: _Spent) -> Encoded:
    model = call.model
    # who? a token or a key
    proof = proof_of(gateway, model, call.secret)
    license = proof.license(gateway)
    version = version_asked(model, call.number, license)
    ask = Ask(Operation.PREDICT, model.id, version.number, 0, call.address, gateway.clock())
    proved = stands(model, license, ask)
    if not proved and (version.stamped or model.id in gateway.book.stamped):
        gateway.misses.check(call.address, ask.now.timestamp())
    async with gateway.admission.turn(proved=proved) as turn:
        # decode
        asked = await gateway.engine.load(version)
        began = time.perf_counter_ns()
        decoded = await decode(asked.input_spec)
        inputs, spent.input_ns = decoded.inputs, time.perf_counter_ns() - began
        # who? the stamps in the pixels
        shown = await read_stamps(gateway, model, asked, inputs)
        # verdict, reserve: on the license as it is now, since the turn and the decoding may have taken their time
        secret = decoded.secret if call.secret is None else call.secret
        if secret is not call.secret:
            proof = proof_of(gateway, model, secret)
        license = identify_stamped(gateway, proof, shown, secret=secret is not None)
        teacher = _answering(model, asked, call.number, shown, license)
        if teacher.input_spec.value_range != asked.input_spec.value_range:  # what bears a stamp is on the grid
            inputs = teacher.input_spec.from_grid(asked.input_spec.to_grid(inputs))
        ask = replace(ask, version=teacher.version.number, images=len(inputs), now=gateway.clock())
        verdict = judge(license, ask, model.strangers)
        proved = verdict.code == Code.VALID
        if proved:
            turn.promote()
        elif license is None and shown.some:
            gateway.misses.note(call.address, ask.now.timestamp())
        served = await _network(gateway, teacher, shown, license if proved else None)
        async with Decision(gateway, model, license, ask, verdict) as decision:
            # batcher -> network -> control layer
            lane = license.id if license and proved else STRANGERS
            scores = await gateway.batcher.submit(
                served,
                inputs,
                authorized=decision.authorized,
                lane=lane,
                timing=spent.timing,
                patience=call.patience(decoded.timeout_us),
            )
            # settle
            await decision.settle()
        # encode
        began = time.perf_counter_ns()
        answered = Answer(ask.version, teacher.output_spec, scores)
        found = await threaded(_WRITTEN * scores.size, encode, answered)
        spent.version_id, spent.output_ns = teacher.version.id, time.perf_counter_ns() - began
    return found


async def predict(gateway: Gateway, model: ModelRecord, number: int | None, request: Request) -> bytes:
    """The answer's JSON, as `/v1` has it.

    Raises:
        As `answer`; BodyTooLarge, BodyTooSlow.
    """
    version_asked(model, number)
    settings = gateway.settings
    received = await receive(request, settings.max_body_bytes, settings.body_timeout_s)
    model = model_named(gateway, model.name)  # as it is now: a body may take its time

    async def decode(spec: InputSpec) -> Decoded:
        return Decoded(await gateway.decoder.instances(received, spec))

    return await answer(gateway, call_of(model, number, request), decode, partial(encode, model.name))


def call_of(model: ModelRecord, number: int | None, request: Request) -> Call:
    """A request before its body is looked at."""
    who = shown_secret(request.headers), address_of(request.scope)
    return Call(model, number, *who, request.is_disconnected, time.perf_counter_ns())


def _answering(
    model: ModelRecord, asked: Loaded, number: int | None, shown: Shown, license: LicenseRecord | None
) -> Loaded:
    """The version that answers: where none is named, a serial number's own is meant."""
    own = shown.teacher.version.number
    meant = number is None and license is not None and license.bound_to == own and model.is_in_use(own)
    return shown.teacher if meant else asked


async def _network(gateway: Gateway, teacher: Loaded, shown: Shown, license: LicenseRecord | None) -> Served:
    """A student for a serial number, or the version's own network; `license` is None for whoever gets decoys.

    Strangers with stamps that can be read are put to a student too: as much work as for a licensee with such images.

    Raises:
        Conflict: the student cannot be loaded.
    """
    if license is not None:
        if license.bound_to is None or shown.credential is None:
            return teacher
        student = gateway.book.students.get(shown.credential.student_id or "")
        if student is None:
            raise Conflict("student", "the license's student is not known here yet; try again")
        return await gateway.student_cache.load(student, teacher)
    reference = gateway.book.reference(teacher.version.id) if shown.whole else None
    if reference is not None:
        with contextlib.suppress(Conflict):  # a damaged one is no news for strangers
            return await gateway.student_cache.load(reference, teacher)
    return teacher


def encode(model: str, answered: Answer) -> bytes:
    """`{"model", "version", "predictions": [{"index", "label", "scores"}]}` for scores (N, K)."""
    labels, scores = answered.output_spec.labels, answered.scores
    predictions = [
        {"index": int(index), "label": labels[index], "scores": row}
        for index, row in zip(scores.argmax(axis=1), scores, strict=True)
    ]
    answer = {"model": model, "version": answered.version, "predictions": predictions}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
