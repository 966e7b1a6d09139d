"""One prediction, leg by leg, in the design's order."""

import contextlib
from dataclasses import replace

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request

from models.specs import OutputSpec
from service.addresses import address_of
from service.control.book import LicenseRecord, ModelRecord, VersionRecord
from service.control.caller import STRANGERS, identify
from service.control.decision import decide, stands
from service.control.stamps import Shown, identify_stamped, read_stamps
from service.control.verdict import Ask
from service.errors import Conflict, NotFound
from service.gateway import Gateway
from service.inference.batcher import Served
from service.inference.engine import Loaded
from service.inputs.body import receive
from service.licenses.terms import Operation
from service.sessions.service import serving_version

Floats = NDArray[np.float32]


def version_asked(model: ModelRecord, number: int | None, license: LicenseRecord | None = None) -> VersionRecord:
    """The version a request names; or else the one that a license's serial number belongs to, or the one being served.

    Raises:
        NotFound: no such version, or it is retired. Conflict: none is named and none is served.
    """
    if number is None:
        bound = (license.bound_to if license else None) or 0
        return model.versions[bound] if model.is_in_use(bound) else serving_version(model)
    if not model.is_in_use(number):
        raise NotFound("version", "no such version of this model is available")
    return model.versions[number]


async def predict(gateway: Gateway, model: ModelRecord, number: int | None, request: Request) -> bytes:
    """The answer's JSON.

    Raises:
        SessionInvalid, InvalidInput, Refused, Unlicensed, Overloaded, TooManyRequests: nothing was consumed.
    """
    version_asked(model, number)
    settings, address = gateway.settings, address_of(request.scope)
    received = await receive(request, settings.max_body_bytes, settings.body_timeout_s)
    # who? a token or a key
    license = identify(gateway, model, request.headers)
    version = version_asked(model, number, license)
    ask = Ask(Operation.PREDICT, model.id, version.number, 0, address, gateway.clock())
    proved = stands(model, license, ask)
    if not proved and (version.stamped or model.id in gateway.book.stamped):
        gateway.misses.check(address, ask.now.timestamp())
    async with gateway.admission.turn(proved=proved) as turn:
        # decode
        asked = await gateway.engine.load(version)
        inputs = await gateway.decoder.instances(received, asked.input_spec)
        # who? the stamps in the pixels
        shown = await read_stamps(gateway, model, asked, inputs)
        # verdict, reserve: on the license as it is now, since the turn and the decoding may have taken their time
        license = identify_stamped(gateway, model, request.headers, shown)
        teacher = _answering(model, asked, number, shown, license)
        if teacher.input_spec.value_range != asked.input_spec.value_range:  # what bears a stamp is on the grid
            inputs = teacher.input_spec.from_grid(asked.input_spec.to_grid(inputs))
        ask = replace(ask, version=teacher.version.number, images=len(inputs), now=gateway.clock())
        proved = stands(model, license, ask)
        if proved:
            turn.promote()
        elif license is None and shown.some:
            gateway.misses.note(address, ask.now.timestamp())
        served = await _network(gateway, teacher, shown, license if proved else None)
        async with decide(gateway, model, license, ask) as decision:
            # batcher -> network -> control layer
            lane = license.id if license and proved else STRANGERS
            scores = await gateway.batcher.submit(served, inputs, authorized=decision.authorized, lane=lane)
            # settle
            await decision.settle()
    # encode
    return encode(model.name, ask.version, teacher.output_spec, scores)


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


def encode(model: str, version: int, output_spec: OutputSpec, scores: Floats) -> bytes:
    """`{"model", "version", "predictions": [{"index", "label", "scores"}]}` for scores (N, K)."""
    predictions = [
        {"index": int(index), "label": output_spec.labels[index], "scores": row}
        for index, row in zip(scores.argmax(axis=1), scores, strict=True)
    ]
    answer = {"model": model, "version": version, "predictions": predictions}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
