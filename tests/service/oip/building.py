"""Infer requests, in the protocol's encodings, and what comes back."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

INFER = "/v2/models/digits/infer"
HEADER = "Inference-Header-Content-Length"


def tensor(levels: NDArray[np.uint8], **changes: Any) -> dict[str, Any]:
    """Grey levels (N, C, H, W) as an input with numbers in JSON; `changes` replace or add keys, None takes one away."""
    described = {"name": "image", "shape": list(levels.shape), "datatype": "UINT8", "data": levels.ravel().tolist()}
    return {name: value for name, value in {**described, **changes}.items() if value is not None}


def as_json(levels: NDArray[np.uint8], **more: Any) -> bytes:
    """A request in JSON."""
    return orjson.dumps({"inputs": [tensor(levels)], **more})


def raw(
    array: NDArray[Any], datatype: str, *, data: bytes | None = None, size: int | None = None, **more: Any
) -> tuple[bytes, dict[str, str]]:
    """A request with its input behind the JSON, and the header that says where that ends."""
    data = array.tobytes() if data is None else data
    parameters = {"binary_data_size": len(data) if size is None else size}
    described = {"name": "image", "shape": list(array.shape), "datatype": datatype, "parameters": parameters}
    head = orjson.dumps({"inputs": [described], **more})
    return head + data, {HEADER: str(len(head))}


def output(answer: httpx.Response, name: str) -> dict[str, Any]:
    """One output of an answer in JSON."""
    assert answer.status_code == 200, answer.text
    return next(each for each in answer.json()["outputs"] if each["name"] == name)


def labels(answer: httpx.Response) -> list[str]:
    """Of an answer in JSON."""
    found: list[str] = output(answer, "label")["data"]
    return found


def scores(answer: httpx.Response) -> NDArray[np.float64]:
    """Of an answer in JSON, (N, K)."""
    found = output(answer, "scores")
    return np.array(found["data"]).reshape(found["shape"])


def raw_outputs(answer: httpx.Response) -> dict[str, bytes]:
    """The raw outputs of an answer, by name."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[HEADER])
    found, at = {}, length
    for each in orjson.loads(answer.content[:length])["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size")
        if size is not None:
            found[each["name"]] = answer.content[at : at + size]
            at += size
    assert at == len(answer.content)
    return found
