"""Inference in every encoding of the protocol: the same answers, verdicts and counts as `/v1`."""

from __future__ import annotations

import asyncio
import base64
import gzip
import zlib
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

from service.gateway import Gateway
from service.oip.datatypes import elements_of, raw_of
from tests.service.asking import Caller, bearer, network_held, npy, png, until, used
from tests.service.conftest import Issue, Issued, client_of
from tests.service.oip.building import INFER, as_json, labels, output, raw, raw_outputs, scores, tensor

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def post(app: FastAPI, content: bytes, secret: str | None = None, path: str = INFER, **headers: str) -> Any:
    """Without a Content-Type, as some clients do it."""
    shown = bearer(secret) if secret else {}
    return client_of(app).post(path, content=content, headers={**shown, **headers})


class TestAnInput:
    @pytest.mark.parametrize("nested", [False, True])
    @pytest.mark.parametrize("datatype", ["UINT8", "FP32", "FP64"])
    async def test_may_be_numbers_in_json(
        self,
        nested: bool,
        datatype: str,
        app: FastAPI,
        licensed: Issued,
        levels: NDArray[np.uint8],
        expected: list[dict[str, Any]],
    ) -> None:
        values = levels if datatype == "UINT8" else levels.astype(np.float32) / np.float32(255)
        sent = values.tolist() if nested else values.ravel().tolist()
        body = orjson.dumps({"inputs": [tensor(levels, datatype=datatype, data=sent)]})
        answer = await post(app, body, licensed.secret)
        assert labels(answer) == [each["label"] for each in expected]
        assert scores(answer) == pytest.approx(np.array([each["scores"] for each in expected]), abs=1e-6)

    @pytest.mark.parametrize(
        ("datatype", "dtype"), [("UINT8", "u1"), ("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8")]
    )
    async def test_may_be_a_raw_tensor(
        self,
        datatype: str,
        dtype: str,
        app: FastAPI,
        licensed: Issued,
        levels: NDArray[np.uint8],
        expected: list[dict[str, Any]],
    ) -> None:
        values = levels if datatype == "UINT8" else (levels.astype(np.float32) / np.float32(255)).astype(dtype)
        content, headers = raw(values, datatype)
        answer = await post(app, content, licensed.secret, **headers)
        assert labels(answer) == [each["label"] for each in expected]
        tolerance = 1e-2 if datatype == "FP16" else 1e-6
        assert scores(answer) == pytest.approx(np.array([each["scores"] for each in expected]), abs=tolerance)

    async def test_may_be_the_upper_halves_of_floats(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8], expected: list[dict[str, Any]]
    ) -> None:
        values = (levels > 127).astype(np.float32)  # which BF16 has exactly
        halves = (values.view("<u4") >> 16).astype("<u2")
        content, headers = raw(halves, "BF16")
        answer = await post(app, content, licensed.secret, **headers)
        whole = await post(app, as_json((values * 255).astype(np.uint8)), licensed.secret)
        assert scores(answer) == pytest.approx(scores(whole), abs=1e-6)

    async def test_may_be_pictures(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8], expected: list[dict[str, Any]]
    ) -> None:
        pictures = raw_of([png(one[0]) for one in levels])
        content, headers = raw(np.empty(len(levels), np.uint8), "BYTES", data=pictures)
        answer = await post(app, content, licensed.secret, **headers)
        assert output(answer, "scores")["data"] == [score for each in expected for score in each["scores"]]

    async def test_may_be_the_whole_body(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8], expected: list[dict[str, Any]]
    ) -> None:
        values = levels.astype(np.float32) / np.float32(255)
        answer = await post(app, values.tobytes(), licensed.secret, **{"Inference-Header-Content-Length": "0"})
        found = raw_outputs(answer)
        assert [text.decode() for text in elements_of(found["label"], "", 5)] == [each["label"] for each in expected]
        again = np.frombuffer(found["scores"], "<f4").reshape(len(levels), -1)
        assert again == pytest.approx(np.array([each["scores"] for each in expected]), abs=1e-6)

    @pytest.mark.parametrize(
        ("encoding", "deflate"),
        [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda body: zlib.compress(body, wbits=-15))],
    )
    async def test_may_be_deflated(
        self, encoding: str, deflate: Any, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8]
    ) -> None:
        content, headers = raw(levels, "UINT8")
        plain = await post(app, content, licensed.secret, **headers)
        answer = await post(app, deflate(content), licensed.secret, **headers, **{"Content-Encoding": encoding})
        assert labels(answer) == labels(plain)


class TestAnAnswer:
    async def test_says_model_version_and_id(self, app: FastAPI, model: str, levels: NDArray[np.uint8]) -> None:
        document = (await post(app, as_json(levels, id="forty-two"))).json()
        assert (document["model_name"], document["model_version"], document["id"]) == ("digits", "1", "forty-two")
        assert [each["name"] for each in document["outputs"]] == ["scores", "label"]
        assert "id" not in (await post(app, as_json(levels))).json()

    async def test_has_the_outputs_that_are_wanted_each_in_its_form(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8], expected: list[dict[str, Any]]
    ) -> None:
        wanted = [
            {"name": "label", "parameters": {"binary_data": False}},
            {"name": "scores", "parameters": {"classification": 2}},
        ]
        body = as_json(levels, outputs=wanted, parameters={"binary_data_output": True})
        answer = await post(app, body, licensed.secret)
        best = elements_of(raw_outputs(answer)["scores"], "", 10)
        assert len(best) == 2 * len(levels)
        score, index, label = best[0].decode().split(":")
        assert (label, int(index)) == (expected[0]["label"], expected[0]["index"])
        assert float(score) == pytest.approx(max(expected[0]["scores"]), abs=1e-5)
        document = orjson.loads(answer.content[: int(answer.headers["Inference-Header-Content-Length"])])
        assert document["outputs"][0]["data"] == [each["label"] for each in expected]
        assert document["outputs"][1]["shape"] == [len(levels), 2]

    async def test_is_deflated_where_that_is_worth_it(
        self, app: FastAPI, model: str, levels: NDArray[np.uint8]
    ) -> None:
        many = np.repeat(levels, 100, axis=0)
        for accepted, said in (("gzip", "gzip"), ("br, deflate", "deflate"), ("gzip;q=0", None), ("identity", None)):
            answer = await post(app, as_json(many), **{"Accept-Encoding": accepted})
            assert answer.headers.get("content-encoding") == said
            assert len(labels(answer)) == 500
        few = await post(app, as_json(levels), **{"Accept-Encoding": "gzip"})
        assert "content-encoding" not in few.headers

    async def test_is_of_the_version_that_is_named(self, app: FastAPI, model: str, levels: NDArray[np.uint8]) -> None:
        answer = await post(app, as_json(levels), path="/v2/models/digits/versions/1/infer")
        assert answer.json()["model_version"] == "1"
        for version in ("2", "0", "99999999999"):
            missing = await post(app, as_json(levels), path=f"/v2/models/digits/versions/{version}/infer")
            assert (missing.status_code, missing.json()["error"]) == (404, missing.json()["detail"])
        assert (await post(app, as_json(levels), path="/v2/models/nosuch/infer")).status_code == 404


def carried(carrier: str, secret: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and what more stands in the body."""
    if carrier == "parameter":
        return {}, {"parameters": {"signet_credential": secret}}
    if carrier == "basic":
        return {"Authorization": "Basic " + base64.b64encode(f"signet:{secret}".encode()).decode()}, {}
    return (bearer(secret) if carrier == "bearer" else {"X-API-Key": secret}), {}


class TestACredential:
    @pytest.mark.parametrize("carrier", ["bearer", "basic", "x-api-key", "parameter"])
    @pytest.mark.parametrize("kind", ["key", "token"])
    async def test_is_taken_wherever_clients_put_it(
        self, kind: str, carrier: str, app: FastAPI, issue: Issue, admin: httpx.AsyncClient, levels: NDArray[np.uint8]
    ) -> None:
        licensed = await issue("key", quota=10)
        truth = (await Caller(app).predict([npy(levels)], licensed.secret)).json()["predictions"]
        token = (await Caller(app).show_key(licensed.secret)).json()["token"]
        headers, more = carried(carrier, licensed.secret if kind == "key" else token)
        answer = await post(app, as_json(levels, **more), **headers)
        assert labels(answer) == [each["label"] for each in truth]
        assert await used(admin, licensed) == 10
        over = await post(app, as_json(levels, **more), **headers)
        assert (over.status_code, over.json()["code"]) == (429, "QUOTA_EXCEEDED")
        assert await used(admin, licensed) == 10

    async def test_a_proxys_password_hides_no_key(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8], expected: list[dict[str, Any]]
    ) -> None:
        proxys = {"Authorization": "Basic " + base64.b64encode(b"acme:proxy password").decode()}
        answer = await post(app, as_json(levels), **proxys, **{"X-API-Key": licensed.secret})
        assert labels(answer) == [each["label"] for each in expected]
        assert labels(await post(app, as_json(levels), **proxys)) == labels(await post(app, as_json(levels)))

    async def test_a_damaged_token_is_said_whoever_carries_it(
        self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8]
    ) -> None:
        token = (await Caller(app).show_key(licensed.secret)).json()["token"]
        for carrier in ("bearer", "basic", "x-api-key", "parameter"):
            headers, more = carried(carrier, token[:-4])
            answer = await post(app, as_json(levels, **more), **headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "SESSION_INVALID"), carrier

    async def test_a_strangers_answers_are_those_of_v1(
        self, app: FastAPI, model: str, levels: NDArray[np.uint8]
    ) -> None:
        lie = (await Caller(app).predict([npy(levels)])).json()["predictions"]
        answer = await post(app, as_json(levels))
        assert labels(answer) == [each["label"] for each in lie]
        assert output(answer, "scores")["data"] == [score for each in lie for score in each["scores"]]


class TestTimeout:
    async def test_a_request_that_waits_longer_is_not_answered_and_not_charged(
        self, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, licensed: Issued, levels: NDArray[np.uint8]
    ) -> None:
        patient = await post(app, as_json(levels, parameters={"timeout": 10_000_000}), licensed.secret)
        assert patient.status_code == 200
        before = await used(admin, licensed)
        async with network_held(gateway):
            asking = [asyncio.create_task(post(app, as_json(levels), licensed.secret))]
            await asyncio.sleep(0.1)
            body = as_json(levels, parameters={"timeout": 1_000})
            asking.append(asyncio.create_task(post(app, body, licensed.secret)))
            await asyncio.sleep(0.1)
        answered, late = await asyncio.gather(*asking)
        assert answered.status_code == 200
        assert (late.status_code, late.json()["code"]) == (503, "DEADLINE_PASSED")
        assert await used(admin, licensed) == before + 5

    async def test_zero_is_none(self, app: FastAPI, licensed: Issued, levels: NDArray[np.uint8]) -> None:
        body = as_json(levels, parameters={"timeout": 0})
        assert (await post(app, body, licensed.secret)).status_code == 200


class TestACallerWhoLeaves:
    async def test_costs_no_forward_pass_and_is_not_charged(
        self, address: str, gateway: Gateway, admin: httpx.AsyncClient, licensed: Issued, levels: NDArray[np.uint8],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Over a socket: only there can anybody leave."""
        monkeypatch.setattr("service.inference.batcher._LONG_NS", 50_000_000)
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=licensed.bearer, timeout=60) as client:
            assert (await client.post(INFER, content=as_json(levels))).status_code == 200
            before, version = await used(admin, licensed), gateway.book.models["digits"].versions[1]
            batches = gateway.statistics.of(version.id).executions
            async with network_held(gateway):
                asking = [asyncio.create_task(client.post(INFER, content=as_json(levels))) for _ in range(2)]
                await asyncio.sleep(0.3)  # one with the network, one in the queue
                for each in asking:
                    each.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
                await asyncio.sleep(0.1)

        async def settled() -> bool:
            return await used(admin, licensed) == before + 5  # the one that the network had begun

        await until(settled)
        assert gateway.statistics.of(version.id).executions == batches + 1
