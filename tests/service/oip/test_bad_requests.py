"""Malformed requests: the protocol's error, which names the field; nothing is counted, and nothing is a bug."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from starlette.datastructures import Headers

from models.specs import InputSpec
from service.errors import InvalidInput, ServiceError
from service.inputs.body import Decoder
from service.oip.body import inflated, split
from service.oip.datatypes import raw_of
from service.oip.request import inputs_of, read
from tests.service.asking import bearer, npy, used
from tests.service.conftest import Issue, client_of
from tests.service.oip.building import HEADER, INFER, as_json, raw, tensor

IMAGE: NDArray[np.uint8] = np.zeros((1, 1, 28, 28), np.uint8)
ONE = raw(IMAGE, "UINT8")
MANY = npy(np.zeros((3, 1, 28, 28), np.uint8))


CLASSES = "outputs[0].parameters.classification"
NESTED = b"[" * 900 + b"]" * 900


def with_input(**changes: Any) -> bytes:
    return orjson.dumps({"inputs": [tensor(IMAGE, **changes)]})


def with_outputs(*outputs: Any) -> bytes:
    return as_json(IMAGE, outputs=list(outputs))


def wanting(name: str = "scores", **parameters: Any) -> dict[str, Any]:
    return {"name": name, "parameters": parameters}


BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "nothing": (b"", {}, 400, "body"),
    "no JSON": (b"{", {}, 400, "body"),
    "a list": (b"[]", {}, 400, "body"),
    "deep JSON": (b"[" * 100_000, {}, 400, "body"),
    "deep data": (with_input(data=None)[:-3] + b',"data":' + NESTED + b"}]}", {}, 400, "inputs[0].data"),
    "a length beyond the body": (ONE[0], {HEADER: "999999"}, 400, f"headers.{HEADER.lower()}"),
    "a length that is none": (ONE[0], {HEADER: "-1"}, 400, f"headers.{HEADER.lower()}"),
    "a length of 19 digits": (ONE[0], {HEADER: "9" * 19}, 400, f"headers.{HEADER.lower()}"),
    "a length that cuts the JSON": (ONE[0], {HEADER: "10"}, 400, "body"),
    "trailing bytes": (ONE[0] + b"x", ONE[1], 400, "inputs[0].parameters.binary_data_size"),
    "half a tensor": (ONE[0][:-1], ONE[1], 400, "inputs[0].parameters.binary_data_size"),
    "a size that is none": (*raw(IMAGE, "UINT8", size=-1), 400, "inputs[0].parameters.binary_data_size"),
    "a size that the shape has not": (*raw(IMAGE, "FP32"), 400, "inputs[0].parameters.binary_data_size"),
    "raw data and none announced": (as_json(IMAGE) + b"x", {HEADER: str(len(as_json(IMAGE)))}, 400, "body"),
    "both ways": (with_input(parameters={"binary_data_size": 784}), {}, 400, "inputs[0].data"),
    "no inputs": (b"{}", {}, 400, "inputs"),
    "an empty list": (b'{"inputs": []}', {}, 400, "inputs"),
    "inputs that are none": (b'{"inputs": [7]}', {}, 400, "inputs[0]"),
    "an input twice": (orjson.dumps({"inputs": [tensor(IMAGE)] * 2}), {}, 400, "inputs"),
    "another name": (with_input(name="x"), {}, 400, "inputs[0].name"),
    "a name that is a list": (with_input(name=["image"]), {}, 400, "inputs[0].name"),
    "no datatype": (with_input(datatype=None), {}, 400, "inputs[0].datatype"),
    "an unknown datatype": (with_input(datatype="FLOAT"), {}, 400, "inputs[0].datatype"),
    "a datatype that is not taken": (with_input(datatype="INT64"), {}, 400, "inputs[0].datatype"),
    "a datatype that is an object": (with_input(datatype={}), {}, 400, "inputs[0].datatype"),
    "FP16 in JSON": (with_input(datatype="FP16"), {}, 400, "inputs[0].datatype"),
    "no shape": (with_input(shape=None), {}, 400, "inputs[0].shape"),
    "a negative shape": (with_input(shape=[-1, 1, 28, 28]), {}, 400, "inputs[0].shape"),
    "a shape of 2^63": (with_input(shape=[2**63, 1, 28, 28]), {}, 400, "inputs[0].shape"),
    "a shape of floats": (with_input(shape=[1.0, 1, 28, 28]), {}, 400, "inputs[0].shape"),
    "a shape of truths": (with_input(shape=[True, 1, 28, 28]), {}, 400, "inputs[0].shape"),
    "no images": (with_input(shape=[0, 1, 28, 28], data=[]), {}, 400, "inputs[0].shape"),
    "another shape": (with_input(shape=[1, 1, 28, 27]), {}, 400, "inputs[0].shape"),
    "more than are taken": (with_input(shape=[2**30, 1, 28, 28]), {}, 400, "inputs[0].shape"),
    "fewer numbers": (with_input(data=[0] * 783), {}, 400, "inputs[0].data"),
    "texts": (with_input(data=["0"] * 784), {}, 400, "inputs[0].data"),
    "no data": (with_input(data=None), {}, 400, "inputs[0].data"),
    "levels beyond 255": (with_input(data=[256] * 784), {}, 400, "inputs[0].data[0]"),
    "levels that are not whole": (with_input(data=[0.5] * 784), {}, 400, "inputs[0].data[0]"),
    "values out of range": (with_input(datatype="FP32", data=[2] * 784), {}, 400, "inputs[0].data[0]"),
    "numbers beyond any float": (with_input(datatype="FP32").replace(b"[0,", b"[1e999,"), {}, 400, "body"),
    "NaN": (*raw(np.full((1, 1, 28, 28), np.nan, np.float32), "FP32"), 400, "inputs[0].data[0]"),
    "an unknown output": (with_outputs({"name": "logits"}), {}, 400, "outputs[0].name"),
    "an output twice": (with_outputs({"name": "label"}, {"name": "label"}), {}, 400, "outputs"),
    "a thousand outputs": (with_outputs(*[{"name": "label"}] * 1000), {}, 400, "outputs"),
    "outputs that are none": (as_json(IMAGE, outputs=7), {}, 400, "outputs"),
    "classes that are none": (with_outputs(wanting(classification=-1)), {}, 400, CLASSES),
    "classes of labels": (with_outputs(wanting("label", classification=1)), {}, 400, CLASSES),
    "a flag that is none": (with_outputs(wanting(binary_data=1)), {}, 400, "outputs[0].parameters.binary_data"),
    "parameters that are none": (as_json(IMAGE, parameters=[]), {}, 400, "parameters"),
    "an id without end": (as_json(IMAGE, id="x" * 257), {}, 400, "id"),
    "an id that is none": (as_json(IMAGE, id=7), {}, 400, "id"),
    "a credential that is none": (
        as_json(IMAGE, parameters={"signet_credential": 7}), {}, 400, "parameters.signet_credential"
    ),
    "shared memory": (
        with_input(parameters={"shared_memory_region": "r"}), {}, 501, "inputs[0].parameters.shared_memory_region"
    ),
    "a sequence": (as_json(IMAGE, parameters={"sequence_id": 1}), {}, 501, "parameters.sequence_id"),
    "not gzip": (as_json(IMAGE), {"Content-Encoding": "gzip"}, 400, "body"),
    "half of gzip": (gzip.compress(as_json(IMAGE))[:-9], {"Content-Encoding": "gzip"}, 400, "body"),
    "more behind gzip": (gzip.compress(as_json(IMAGE)) + b"x", {"Content-Encoding": "gzip"}, 400, "body"),
    "a bomb": (gzip.compress(bytes(2**25)), {"Content-Encoding": "gzip"}, 413, "body"),
    "another encoding": (as_json(IMAGE), {"Content-Encoding": "br"}, 415, "headers.content-encoding"),
    "the whole body, cut off": (b"\0" * 100, {HEADER: "0"}, 400, "body"),
    "the whole body, empty": (b"", {HEADER: "0"}, 400, "body"),
    "a million lists": (gzip.compress(with_input(data=[[]] * 1_000_000)), {"Content-Encoding": "gzip"}, 413, "body"),
    "many lists": (with_input(data=[[]] * 300_000), {}, 400, "body"),
    "an array of images as a picture": (*raw(np.empty(1, np.uint8), "BYTES", data=raw_of([MANY])), 415, "inputs[0][0]"),
    "pictures that are none": (*raw(np.empty(1, np.uint8), "BYTES", data=b"\1\0\0\0x"), 415, "inputs[0][0]"),
    "fewer pictures": (*raw(np.empty(2, np.uint8), "BYTES", data=b"\1\0\0\0x"), 400, "inputs[0]"),
    "a picture cut off": (*raw(np.empty(1, np.uint8), "BYTES", data=b"\xff\xff\xff\xffx"), 400, "inputs[0]"),
}  # fmt: skip


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_bad_request_is_answered_in_the_protocols_words(
    app: FastAPI, issue: Issue, admin: httpx.AsyncClient
) -> None:
    licensed = await issue("key", quota=5)
    async with client_of(app, **bearer(licensed.secret)) as client:
        for what, (content, headers, status, field) in BAD.items():
            answer = await client.post(INFER, content=content, headers=headers)
            assert answer.status_code == status, (what, answer.text)
            assert answer.headers["content-type"] == "application/json", what
            problem = answer.json()
            assert problem["error"] == problem["detail"], what
            assert problem["status"] == status, what
            assert problem["errors"][0]["field"] == field, (what, problem)
    assert await used(admin, licensed) == 0


SPEC, DECODER = InputSpec(), Decoder(max_pixels=10_000, max_images=4)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
parameters = st.dictionaries(st.sampled_from(["classification", "binary_data", "x"]), anything) | anything
outputs = st.fixed_dictionaries(
    {"name": st.sampled_from(["scores", "label"]) | anything}, optional={"parameters": parameters}
)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("image") | anything,
        "shape": st.just([1, 1, 28, 28]) | st.lists(st.integers(), max_size=5) | anything,
        "datatype": st.sampled_from(["UINT8", "FP32", "FP16", "BF16", "BYTES", "FP64", "BOOL"]) | anything,
        "data": st.just([0] * 784) | anything,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 4000) | anything}) | anything,
    },
)
somewhat_right = st.fixed_dictionaries(
    {},
    optional={
        "id": anything,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_output", "sequence_id"]), anything) | anything,
        "outputs": st.lists(outputs, max_size=3) | anything,
        "inputs": st.lists(inputs, max_size=2) | anything,
    },
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(document=somewhat_right | anything, behind=st.binary(max_size=4000), length=st.none() | st.integers(0, 5000))
def test_whatever_comes_is_an_input_or_an_error_that_names_a_field(
    document: Any, behind: bytes, length: int | None
) -> None:
    head = json.dumps(document).encode()
    headers = Headers({HEADER: str(len(head) if length is None else length)})
    try:
        body = split(head + behind, headers, 4 * 784)
        read(body)
        found = inputs_of(body, SPEC, DECODER)
    except ServiceError as error:
        refused = error
    else:
        assert found.shape[1:] == SPEC.shape
        assert np.isfinite(found).all()
        return
    assert refused.status in (415, 422, 501)
    assert refused.extensions["errors"][0]["field"]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), encoding=st.sampled_from(["gzip", "deflate"]))
def test_whatever_is_inflated_ends_or_is_refused(data: bytes, encoding: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert len(inflated(data, encoding, 1_000)) <= 1_000
