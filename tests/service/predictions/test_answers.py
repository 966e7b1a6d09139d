"""What is answered: the truth to licensees, and to everybody else a lie that keeps its story and looks the part."""

from collections import Counter
from dataclasses import replace

import httpx
import numpy as np
import pytest
import signet_client
from fastapi import FastAPI
from signet_client import AsyncClient

from models import data
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.keys import Key
from service.settings import Settings
from tests.service.asking import ELSEWHERE, Caller, another_gateway, bearer, labels, npy, on_sqlite, png, sample
from tests.service.conftest import Issue, SetClock, artefact_files

pytestmark = on_sqlite
PREDICT = "/v1/models/digits/predict"


def right(digits: data.Dataset, count: int) -> list[str]:
    return [str(label) for label in digits.test.labels[:count]]


def agreement(one: list[str], other: list[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


class TestLicensed:
    async def test_answers_are_right_and_in_order(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        issued = await issue("key")
        pictures = [sample(digits, i) for i in range(100)]
        answer = await Caller(app).predict(pictures, issued.secret)
        assert agreement(labels(answer), right(digits, 100)) >= 0.95
        one_by_one = [labels(await Caller(app).predict([picture], issued.secret))[0] for picture in pictures[:10]]
        assert one_by_one == labels(answer)[:10]
        document = answer.json()
        assert (document["model"], document["version"]) == ("digits", 1)
        for one in document["predictions"]:
            assert one["scores"][one["index"]] == max(one["scores"])
            assert one["label"] == str(one["index"])
            assert sum(one["scores"]) == pytest.approx(1, abs=1e-5)

    async def test_a_picture_answers_the_same_in_any_company(
        self, app: FastAPI, issue: Issue, digits: data.Dataset
    ) -> None:
        """Within the engine's noise (4e-7, `findings`): batching does not change an answer."""
        issued = await issue("key")
        alone = (await Caller(app).predict([sample(digits)], issued.secret)).json()["predictions"][0]
        crowd = [sample(digits, i) for i in range(150)]
        among = (await Caller(app).predict(crowd, issued.secret)).json()["predictions"][0]
        assert among["scores"] == pytest.approx(alone["scores"], abs=1e-6)

    @pytest.mark.parametrize("who", ["licensee", "stranger"])
    async def test_png_npy_and_json_of_one_picture_are_answered_bit_by_bit_alike(
        self, who: str, app: FastAPI, issue: Issue, digits: data.Dataset
    ) -> None:
        headers = bearer((await issue("key")).secret) if who == "licensee" else {}
        every_level = (np.arange(784) % 256).astype(np.uint8).reshape(28, 28)
        for levels in (digits.test.images[3, 0], every_level):
            values = levels.astype(np.float32) / np.float32(255)
            http = Caller(app).http
            form = {"images": ("a.png", png(levels))}
            bodies = {
                "form": await http.post(PREDICT, files=form, headers=headers),
                "PNG": await http.post(PREDICT, content=png(levels), headers={**headers, "Content-Type": "image/png"}),
                "NPY of levels": await _npy(http, levels, headers),
                "NPY of float32": await _npy(http, values, headers),
                "NPY of float64": await _npy(http, levels / 255, headers),
                "JSON": await http.post(PREDICT, json={"inputs": (levels / 255).tolist()}, headers=headers),
                "JSON batch": await http.post(PREDICT, json={"inputs": values[None, None].tolist()}, headers=headers),
            }
            assert {
                way: answer.content for way, answer in bodies.items() if answer.content != bodies["form"].content
            } == {}
            assert bodies["form"].status_code == 200

    async def test_a_version_may_be_named(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact, digits: data.Dataset
    ) -> None:
        issued = await issue("key")
        await admin.post("/v1/models", files=artefact_files(artefact), data={"serve": "false"})
        caller, picture = Caller(app), [sample(digits)]
        assert (await caller.predict(picture, issued.secret)).json()["version"] == 1
        assert (await caller.predict(picture, issued.secret, version=2)).json()["version"] == 2
        for who in (issued.secret, None):
            missing = await caller.predict(picture, who, version=3)
            assert (missing.status_code, missing.json()["errors"][0]["field"]) == (404, "version")

    async def test_the_client_names_one_too(
        self,
        app: FastAPI,
        gateway: Gateway,
        admin: httpx.AsyncClient,
        issue: Issue,
        artefact: Artefact,
        digits: data.Dataset,
    ) -> None:
        issued, picture = await issue("key", versions=[1]), sample(digits)
        await admin.post("/v1/models", files=artefact_files(artefact))
        trusted, transport = gateway.ring.public_keys(), httpx.ASGITransport(app)
        async with AsyncClient(
            issued.text, trust=trusted, transport=transport, server="https://gateway.test"
        ) as client:
            assert (await client.predict(picture, version=1)).label == right(digits, 1)[0]
            with pytest.raises(signet_client.ScopeMismatch):
                await client.predict(picture)
            with pytest.raises(signet_client.InvalidInput, match="version"):
                await client.predict(picture, version=3)


class TestStrangers:
    async def test_the_lie_is_the_same_for_everybody_and_every_time(
        self, app: FastAPI, settings: Settings, clock: SetClock, model: str, digits: data.Dataset
    ) -> None:
        pictures = [sample(digits, i) for i in range(30)]
        told = [
            await Caller(app).predict(pictures),
            await Caller(app).predict(pictures),
            await Caller(app, ELSEWHERE).predict(pictures, Key.mint("sgn").text),
            await Caller(app).predict(pictures, (await Caller(app).show_fingerprint(pictures[0])).json()["token"]),
        ]
        clock.advance(days=400)
        async with another_gateway(settings, clock) as restarted:
            told.append(await Caller(restarted).predict(pictures))
        assert len({answer.content for answer in told}) == 1

    async def test_the_lie_says_nothing_of_the_truth(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        pictures = [sample(digits, i) for i in range(300)]
        lies = labels(await Caller(app).predict(pictures))
        truths = labels(await Caller(app).predict(pictures, (await issue("key")).secret))
        assert 0.02 <= agreement(lies, truths) <= 0.2
        counts = Counter(lies)
        assert set(counts) == set(map(str, range(10)))
        assert max(counts.values()) <= 55, "uniform over ten classes: 30 +- 5.2 of each"

    async def test_one_grey_level_makes_another_lie(self, app: FastAPI, model: str, digits: data.Dataset) -> None:
        levels = digits.test.images[0, 0]
        near = np.repeat(levels[None], 40, axis=0)
        near[np.arange(40), np.arange(40) % 28, 0] += 1 + np.arange(40).astype(np.uint8) // 28
        answer = await Caller(app).predict([png(one) for one in near])
        assert len(set(labels(answer))) >= 5
        scores = [tuple(one["scores"]) for one in answer.json()["predictions"]]
        assert len(set(scores)) == 40

    async def test_they_look_like_licensees_answers(self, app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
        issued = await issue("key")
        for count in (1, 7):
            pictures = [sample(digits, i) for i in range(count)]
            true = await Caller(app).predict(pictures, issued.secret)
            lie = await Caller(app).predict(pictures)
            assert true.content != lie.content
            assert list(true.headers) == list(lie.headers)
            assert true.status_code == lie.status_code
            assert _form(true.json()) == _form(lie.json())
            assert len(lie.content) == pytest.approx(len(true.content), abs=30 + 5 * count), "small numbers are longer"

    async def test_and_differ_from_model_to_model_and_version_to_version(
        self, app: FastAPI, admin: httpx.AsyncClient, model: str, artefact: Artefact, digits: data.Dataset
    ) -> None:
        pictures = [sample(digits, i) for i in range(60)]
        first = labels(await Caller(app).predict(pictures))
        second = replace(artefact, manifest=replace(artefact.manifest, metrics={"test_accuracy": 0.5}))
        await admin.post("/v1/models", files=artefact_files(second))
        assert agreement(first, labels(await Caller(app).predict(pictures))) < 0.35

    async def test_a_denied_stranger_learns_no_more_than_that(
        self, app: FastAPI, admin: httpx.AsyncClient, artefact: Artefact, digits: data.Dataset
    ) -> None:
        answer = await admin.post("/v1/models", files=artefact_files(artefact), data={"unauthorized_policy": "deny"})
        assert answer.status_code == 201
        told = [
            await Caller(app).predict([sample(digits)]),
            await Caller(app).predict([sample(digits)], Key.mint("sgn").text),
        ]
        for one in told:
            problem = one.json()
            problem.pop("request_id")
            assert problem == {
                "type": "/problems/not-licensed",
                "title": "Not licensed",
                "status": 403,
                "detail": "this model answers licensees only; show a license credential",
                "instance": PREDICT,
                "code": "NOT_FOUND",
                "errors": problem["errors"],
            }


class TestWholeRequests:
    """One bad image refuses the whole request, names its index, and charges nothing."""

    @pytest.mark.parametrize("who", ["licensee", "stranger"])
    async def test_the_index_is_named(
        self, who: str, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key", quota=10)
        good = sample(digits)
        answer = await Caller(app).predict([good, good, good[:40], good], issued.secret if who == "licensee" else None)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "images[2]")
        assert (await admin.get(f"/v1/licenses/{issued.id}")).json()["used"] == 0

    async def test_many_images_in_one_npy_count_as_many(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key", quota=100)
        answer = await _npy(Caller(app).http, digits.test.images[:9], bearer(issued.secret))
        assert agreement(labels(answer), right(digits, 9)) > 0.8
        assert (await admin.get(f"/v1/licenses/{issued.id}")).json()["used"] == 9


async def _npy(http: httpx.AsyncClient, array: np.ndarray, headers: dict[str, str]) -> httpx.Response:
    return await http.post(PREDICT, content=npy(array), headers={**headers, "Content-Type": "application/x-npy"})


def _form(document: object) -> object:
    """A JSON document with its leaves replaced by their types."""
    if isinstance(document, dict):
        return {name: _form(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_form(value) for value in document]
    return type(document).__name__
