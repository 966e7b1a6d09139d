"""An answer in the protocol's words: JSON, and behind it the tensors that are wanted raw."""

import re
import zlib
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.datastructures import Headers

from models.specs import OutputSpec
from service.oip.body import HEADER_LENGTH
from service.oip.datatypes import BYTES, raw_of
from service.oip.request import SCORES, Asked, Output
from service.predictions.service import Answer

Floats = NDArray[np.float32]
_WORTH_DEFLATING = 16 * 1024  # bytes; below, it costs more time than it saves on the way
_NEVER = re.compile(r"q=0(\.0*)?")
_WRAPPING = {"gzip": 31, "deflate": 15}


class Encoded(NamedTuple):
    """A response's body and the headers that say how to read it."""

    body: bytes
    headers: dict[str, str]


def encode(model: str, asked: Asked, answer: Answer) -> Encoded:
    """The answer to one request."""
    outputs, raw = [], []
    for wanted in asked.outputs:
        tensor, data = _tensor(wanted, answer.scores, answer.output_spec)
        outputs.append(tensor)
        raw.append(data)
    document = {"model_name": model, "model_version": str(answer.version), "outputs": outputs}
    if asked.id is not None:
        document["id"] = asked.id
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(output.binary for output in asked.outputs):
        return Encoded(text, {"Content-Type": "application/json"})
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return Encoded(b"".join([text, *raw]), headers)


def deflated(encoded: Encoded, headers: Headers) -> Encoded:
    """In the content encoding that the caller names first of those we have, where it is worth it."""
    accepted = [each.partition(";") for each in headers.get("accept-encoding", "").lower().split(",")]
    wanted = [name.strip() for name, _, quality in accepted if not _NEVER.fullmatch(quality.strip())]
    name = next((each for each in wanted if each in _WRAPPING), None)
    if name is None or len(encoded.body) < _WORTH_DEFLATING:
        return encoded
    deflate = zlib.compressobj(1, zlib.DEFLATED, _WRAPPING[name])
    body = deflate.compress(encoded.body) + deflate.flush()
    return Encoded(body, encoded.headers | {"Content-Encoding": name, "Vary": "Accept-Encoding"})


def _tensor(wanted: Output, scores: Floats, spec: OutputSpec) -> tuple[dict[str, Any], bytes]:
    """An output as it stands in the JSON, and its raw data where it is wanted raw."""
    if wanted.name == SCORES and not wanted.classes:
        described = {"name": SCORES, "datatype": "FP32", "shape": list(scores.shape)}
        if wanted.binary:
            return _raw(described, np.ascontiguousarray(scores, "<f4").tobytes())
        return described | {"data": scores.ravel()}, b""
    texts = _best(scores, spec, wanted.classes) if wanted.name == SCORES else [[one] for one in _labels(scores, spec)]
    shape = [len(scores), len(texts[0])] if wanted.name == SCORES else [len(scores)]
    flat = [text for row in texts for text in row]
    described = {"name": wanted.name, "datatype": BYTES, "shape": shape}
    if wanted.binary:
        return _raw(described, raw_of([text.encode() for text in flat]))
    return described | {"data": flat}, b""


def _raw(described: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    return described | {"parameters": {"binary_data_size": len(data)}}, data


def _labels(scores: Floats, spec: OutputSpec) -> list[str]:
    return [spec.labels[index] for index in scores.argmax(axis=1)]


def _best(scores: Floats, spec: OutputSpec, classes: int) -> list[list[str]]:
    """The classification extension's "score:index:label", the best first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : min(classes, spec.classes)]
    return [[f"{row[at]:.6f}:{at}:{spec.labels[at]}" for at in best] for row, best in zip(scores, order, strict=True)]
