"""What one request may cost, whoever sends it, and that nobody waits for a slow sender."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from models import data
from models.specs import InputSpec
from service.errors import InvalidInput
from service.gateway import Gateway
from service.inputs.body import Decoder, Received
from service.inputs.tensors import decode_json_tensor
from tests.service.asking import bearer, npy, on_sqlite, png, sample
from tests.service.conftest import Issue, artefact_files, client_of

PREDICT = "/v1/models/digits/predict"
GREY = InputSpec()


def test_text_among_numbers_costs_no_more_than_its_own_length() -> None:
    sent = ["a" * 10_000, *["b"] * 10_000]
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="only numbers"):
        decode_json_tensor(sent, GREY, "inputs")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("media", ["application/x-npy", "application/json"])
async def test_more_images_than_the_gateway_takes_are_refused(media: str) -> None:
    many = np.zeros((9, 1, 28, 28), np.uint8)
    body = npy(many) if media == "application/x-npy" else b'{"inputs": %s}' % str(many.tolist()).encode()
    with pytest.raises(InvalidInput, match="9 images; at most 8"):
        await Decoder(max_pixels=10_000, max_images=8).instances(Received(media, body), GREY)


async def test_pictures_to_be_made_to_fit_share_one_budget_of_pixels() -> None:
    spec = InputSpec(resize="fit")
    form = httpx.Request("POST", "http://x", files=[("images", ("a.png", png(np.zeros((100, 100), np.uint8))))] * 17)
    received = Received(form.headers["content-type"], form.read())
    with pytest.raises(InvalidInput, match="more than 160000 pixels"):
        await Decoder(max_pixels=10_000).instances(received, spec)


@on_sqlite
class TestWhileABodyIsOnItsWay:
    async def test_a_license_that_is_revoked_meanwhile_is_refused(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key")

        async def body() -> AsyncIterator[bytes]:
            picture = sample(digits)
            yield picture[:40]
            assert (await admin.post(f"/v1/licenses/{issued.id}/revoke")).status_code == 200
            yield picture[40:]

        async with client_of(app) as client:
            headers = {**issued.bearer, "Content-Type": "image/png"}
            answer = await client.post(PREDICT, content=body(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "REVOKED")

    async def test_other_strangers_are_answered_and_the_slow_one_is_told(
        self, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key")
        gateway.settings.body_timeout_s = 1.0
        waits = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"\x89PNG"
            waits.set()
            await asyncio.sleep(30)

        png_type = {"Content-Type": "image/png"}
        async with client_of(app) as client:
            laggard = asyncio.create_task(client.post(PREDICT, content=slow(), headers=png_type))
            await waits.wait()
            assert (await client.post(PREDICT, content=sample(digits), headers=png_type | issued.bearer)).is_success
            async with asyncio.timeout(0.9):
                assert (await client.post(PREDICT, content=sample(digits), headers=png_type)).is_success
            answer = await laggard
        assert (answer.status_code, answer.json()["code"]) == (408, "BODY_TOO_SLOW")


@on_sqlite
async def test_a_license_for_one_version_goes_on_when_another_is_served(
    app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: object, digits: data.Dataset
) -> None:
    issued = await issue("key", versions=[1])
    assert (await admin.post("/v1/models", files=artefact_files(artefact))).status_code == 201  # type: ignore[arg-type]
    async with client_of(app) as client:
        nonce = {"nonce": "A" * 43}
        session = await client.post("/v1/models/digits/sessions", json=nonce, headers=issued.bearer)
        headers = bearer(session.json()["token"]) | {"Content-Type": "image/png"}
        named = await client.post(f"{PREDICT}?version=1", content=sample(digits), headers=headers)
        unnamed = await client.post(PREDICT, content=sample(digits), headers=headers)
    assert (named.status_code, named.json()["version"]) == (200, 1)
    assert (unnamed.status_code, unnamed.json()["code"]) == (403, "VERSION_SCOPE_MISMATCH")
