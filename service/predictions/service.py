"""One prediction, leg by leg, in the design's order."""

from dataclasses import replace

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.requests import Request

from models.specs import OutputSpec
from service.addresses import address_of
from service.control.book import ModelRecord, VersionRecord
from service.control.caller import STRANGERS, identify
from service.control.decision import decide, stands
from service.control.verdict import Ask
from service.errors import NotFound
from service.gateway import Gateway
from service.inputs.body import receive
from service.licenses.terms import Operation
from service.sessions.service import serving_version

Floats = NDArray[np.float32]


def version_asked(model: ModelRecord, number: int | None) -> VersionRecord:
    """The version a request names, or the one being served.

    Raises:
        NotFound: no such version, or it is retired. Conflict: none is named and none is served.
    """
    if number is None:
        return serving_version(model)
    version = model.versions.get(number)
    if version is None or version.state == "retired":
        raise NotFound("version", "no such version of this model is available")
    return version


async def predict(gateway: Gateway, model: ModelRecord, number: int | None, request: Request) -> bytes:
    """The answer's JSON.

    Raises:
        SessionInvalid, InvalidInput, Refused, Unlicensed, Overloaded: nothing was consumed.
    """
    version = version_asked(model, number)
    settings, address = gateway.settings, address_of(request.scope)
    received = await receive(request, settings.max_body_bytes, settings.body_timeout_s)
    # who?
    license = identify(gateway, model, request.headers)
    ask = Ask(Operation.PREDICT, model.id, version.number, 0, address, gateway.clock())
    proved = stands(model, license, ask)
    async with gateway.admission.turn(proved=proved):
        # decode
        served = await gateway.engine.load(version)
        inputs = await gateway.decoder.instances(received, served.input_spec)
        # verdict, reserve: on the license as it is now, since the turn and the decoding may have taken their time
        license = identify(gateway, model, request.headers)
        ask = replace(ask, images=len(inputs), now=gateway.clock())
        async with decide(gateway, model, license, ask) as decision:
            # batcher -> network -> control layer
            lane = license.id if license and proved else STRANGERS
            scores = await gateway.batcher.submit(served, inputs, authorized=decision.authorized, lane=lane)
            # settle
            await decision.settle()
    # encode
    return encode(model.name, version.number, served.output_spec, scores)


def encode(model: str, version: int, output_spec: OutputSpec, scores: Floats) -> bytes:
    """`{"model", "version", "predictions": [{"index", "label", "scores"}]}` for scores (N, K)."""
    predictions = [
        {"index": int(index), "label": output_spec.labels[index], "scores": row}
        for index, row in zip(scores.argmax(axis=1), scores, strict=True)
    ]
    answer = {"model": model, "version": version, "predictions": predictions}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
