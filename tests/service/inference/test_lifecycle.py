"""Versions come and go while requests are answered: swapped when warm, kept when the next is broken, let go of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from models import data, networks
from service.admin_keys.tables import Role
from service.catalogue.artefacts import Artefact, ArtefactStore
from service.gateway import Gateway
from service.inference import engine
from service.settings import Settings
from tests.service.asking import Caller, another_gateway, labels, network_held, on_sqlite, sample, until
from tests.service.catalogue.uploads import renamed, upload, with_inputs
from tests.service.conftest import Issue, SetClock, client_of, mint_admin
from tests.service.inference import patient_network

INPUTS = 1_000
SERVE = "/v1/models/digits/versions/2/serve"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(networks, "_registry", dict(networks._registry))
    monkeypatch.setattr(patient_network, "given", [])
    monkeypatch.setattr(engine, "RETRY_AFTER_S", 0.1)
    return settings.model_copy(update={"networks": {"patient": "tests.service.inference.patient_network:patient"}})


@pytest.fixture
def patient(artefact: Artefact) -> Artefact:
    """The digits model's network, slowly."""
    many = with_inputs(artefact, lambda inputs: inputs.repeat(4, 1, 1, 1)[:INPUTS])
    return replace(many, manifest=replace(many.manifest, network="patient"))


@pytest.fixture
async def elsewhere(settings: Settings, clock: SetClock, app: FastAPI, model: str) -> AsyncIterator[FastAPI]:
    """Another gateway of the same home and database."""
    async with another_gateway(settings, clock) as other:
        yield other


async def answering(app: FastAPI, digits: data.Dataset) -> int:
    """The version that a stranger is answered by who names none."""
    response = await Caller(app).predict([sample(digits)])
    assert response.status_code == 200, response.text
    number: int = response.json()["version"]
    return number


class TestSwap:
    async def test_the_old_version_answers_until_the_new_one_is_warm(
        self, app: FastAPI, elsewhere: FastAPI, admin: httpx.AsyncClient, patient: Artefact, digits: data.Dataset
    ) -> None:
        assert (await upload(admin, patient, serve="false")).status_code == 201
        assert (await admin.post(SERVE)).status_code == 200
        assert await answering(app, digits) == 2, "before the administrator hears of it"
        patient_network.given.clear()

        async def warming() -> bool:
            return bool(patient_network.given)

        await until(warming)
        seen = [await answering(elsewhere, digits) for _ in range(3)]
        assert sum(patient_network.given) < INPUTS, "it is still being warmed"
        assert seen == [1, 1, 1]

        async def swapped() -> bool:
            return await answering(elsewhere, digits) == 2

        await until(swapped)

    async def test_an_upload_answers_when_the_administrator_hears_of_it(
        self, app: FastAPI, admin: httpx.AsyncClient, model: str, patient: Artefact, digits: data.Dataset
    ) -> None:
        assert await answering(app, digits) == 1
        assert (await upload(admin, patient)).status_code == 201
        assert await answering(app, digits) == 2

    async def test_a_retired_version_does_not_answer_until_then(
        self, elsewhere: FastAPI, admin: httpx.AsyncClient, patient: Artefact, digits: data.Dataset
    ) -> None:
        assert await answering(elsewhere, digits) == 1
        assert (await upload(admin, patient)).status_code == 201
        async with network_held(elsewhere.state.gateway):
            await elsewhere.state.gateway.sync.refresh()
            assert (await admin.post("/v1/models/digits/versions/1/retire")).status_code == 200
            await elsewhere.state.gateway.sync.refresh()
            asking = asyncio.create_task(answering(elsewhere, digits))
            await asyncio.sleep(0.1)
        assert await asking == 2, "who asks waits for it"


class TestABrokenVersion:
    async def test_is_refused_and_the_old_one_goes_on(
        self, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, model: str, artefact: Artefact,
        digits: data.Dataset,
    ) -> None:  # fmt: skip
        assert (await upload(admin, artefact, serve="false")).status_code == 201
        spoil(gateway.settings.home)
        refused = await admin.post(SERVE)
        assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
        states = [version["state"] for version in (await admin.get("/v1/models/digits")).json()["versions"]]
        assert states == ["serving", "ready"]
        assert await answering(app, digits) == 1

    async def test_is_no_matter_elsewhere_either_and_answers_once_it_is_put_right(
        self, elsewhere: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, admin_key: str, artefact: Artefact,
        digits: data.Dataset,
    ) -> None:  # fmt: skip
        assert await answering(elsewhere, digits) == 1
        assert (await upload(admin, artefact, serve="false")).status_code == 201
        warmed = gateway.book.models["digits"].versions[2]
        await gateway.engine.load(warmed)  # here it is sound still
        whole = spoil(gateway.settings.home)
        assert (await admin.post(SERVE)).status_code == 200
        await elsewhere.state.gateway.sync.refresh()

        async with client_of(elsewhere, Authorization=f"Bearer {admin_key}") as there:

            async def told() -> bool:
                index = (await there.post("/v2/repository/index")).json()
                return any(each["state"] == "UNAVAILABLE" and each["version"] == "2" for each in index)

            await until(told)
        assert await answering(elsewhere, digits) == 1
        assert (await Caller(elsewhere).http.get("/v1/health/ready")).status_code == 200

        weights(gateway.settings.home).write_bytes(whole)

        async def swapped() -> bool:
            return await answering(elsewhere, digits) == 2

        await until(swapped)


@on_sqlite
class TestAVersionThatFailsToBeRead:
    """Not for its files' fault: there is no memory left, say."""

    @pytest.fixture
    def no_memory(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        read, times = ArtefactStore.read, []

        def fail(store: ArtefactStore, name: str, number: int, digest: bytes) -> Artefact:
            if number == 1:
                return read(store, name, number, digest)
            times.append(number)
            raise MemoryError

        monkeypatch.setattr(ArtefactStore, "read", fail)
        return times

    async def test_takes_nothing_down(
        self, settings: Settings, clock: SetClock, app: FastAPI, admin: httpx.AsyncClient, model: str,
        artefact: Artefact, digits: data.Dataset, no_memory: list[int],
    ) -> None:  # fmt: skip
        assert await answering(app, digits) == 1
        assert (await upload(admin, artefact)).status_code == 201
        assert await answering(app, digits) == 1
        await asyncio.sleep(0.3)
        assert 1 <= len(no_memory) <= 6, "it is tried again, now and then"
        index = (await admin.post("/v2/repository/index")).json()
        assert [each["state"] for each in index] == ["READY", "UNAVAILABLE"]
        async with another_gateway(settings, clock) as restarted:
            assert (await Caller(restarted).predict([sample(digits)])).status_code == 409
            assert (await Caller(restarted).predict([sample(digits)], version=1)).status_code == 200


class TestUnload:
    async def test_nobody_is_answered_anywhere_until_it_is_loaded_again(
        self, app: FastAPI, gateway: Gateway, elsewhere: FastAPI, admin: httpx.AsyncClient, issue: Issue,
        digits: data.Dataset,
    ) -> None:  # fmt: skip
        issued = await issue("key", quota=3)
        truth = [str(digits.test.labels[0])]
        await elsewhere.state.gateway.sync.refresh()
        assert labels(await Caller(elsewhere).predict([sample(digits)], issued.secret)) == truth

        unloaded = await admin.post("/v2/repository/models/digits/unload")
        assert (unloaded.status_code, unloaded.json()) == (200, {"name": "digits", "unload": True})
        assert not gateway.engine.is_warm(gateway.book.versions[next(iter(gateway.book.versions))])

        async def gone() -> bool:
            return (await Caller(elsewhere).predict([sample(digits)])).status_code == 503

        await until(gone)
        for there in (app, elsewhere):
            caller = Caller(there)
            for answer in (
                await caller.predict([sample(digits)], issued.secret),
                await caller.predict([sample(digits)], version=1),
                await caller.show_key(issued.secret),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "MODEL_UNLOADED")
            assert (await caller.http.get("/v2/models/digits/ready")).status_code == 503
            assert (await caller.http.get("/v1/health/ready")).status_code == 200, "the gateway is well"
        (listed,) = (await admin.post("/v2/repository/index")).json()
        assert (listed["state"], listed["reason"]) == ("UNAVAILABLE", "unloaded")
        assert (await admin.get("/v1/models/digits")).json()["unloaded"] is True

        assert (await admin.post("/v2/repository/models/digits/load")).json() == {"name": "digits", "load": True}
        assert labels(await Caller(app).predict([sample(digits)], issued.secret)) == truth

        async def back() -> bool:
            return (await Caller(elsewhere).predict([sample(digits)])).status_code == 200

        await until(back)
        assert (await admin.get(f"/v1/licenses/{issued.id}")).json()["used"] == 2, "only answers were counted"
        acts = [row["action"] for row in (await admin.get("/v1/audit")).json()["items"]]
        assert acts[-2:] == ["model.unloaded", "model.loaded"]

    async def test_a_restart_does_not_bring_it_back(
        self, settings: Settings, clock: SetClock, admin: httpx.AsyncClient, model: str, digits: data.Dataset
    ) -> None:
        await admin.post("/v2/repository/models/digits/unload")
        async with another_gateway(settings, clock) as restarted:
            assert (await Caller(restarted).predict([sample(digits)])).status_code == 503
            assert not restarted.state.gateway.engine.is_warm(
                next(iter(restarted.state.gateway.book.versions.values()))
            )

    @on_sqlite
    async def test_one_that_does_not_load_stays_unloaded(
        self, gateway: Gateway, admin: httpx.AsyncClient, model: str
    ) -> None:
        await admin.post("/v2/repository/models/digits/unload")
        whole = spoil(gateway.settings.home, 1)
        refused = await admin.post("/v2/repository/models/digits/load")
        assert refused.status_code == 503
        assert "files fail their check" in refused.json()["error"]
        assert (await admin.get("/v1/models/digits")).json()["unloaded"] is True
        weights(gateway.settings.home, 1).write_bytes(whole)
        assert (await admin.post("/v2/repository/models/digits/load")).status_code == 200

    @on_sqlite
    async def test_a_version_chosen_meanwhile_is_the_one_that_comes_back(
        self, app: FastAPI, elsewhere: FastAPI, admin: httpx.AsyncClient, artefact: Artefact, digits: data.Dataset
    ) -> None:
        await admin.post("/v2/repository/models/digits/unload")
        assert (await upload(admin, artefact)).status_code == 201
        assert (await admin.post("/v2/repository/models/digits/load")).status_code == 200
        await elsewhere.state.gateway.sync.refresh()
        assert [await answering(app, digits), await answering(elsewhere, digits)] == [2, 2]

    @on_sqlite
    @pytest.mark.parametrize("path", ["/v1/models/digits/predict", "/v2/models/digits/infer"])
    async def test_a_body_that_was_on_its_way_is_too_late(
        self, path: str, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, model: str, digits: data.Dataset
    ) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"{"
            begun.set()
            await go_on.wait()
            yield b"}"

        asking = asyncio.create_task(Caller(app).http.post(path, content=slowly()))
        await begun.wait()
        await admin.post("/v2/repository/models/digits/unload")
        go_on.set()
        assert (await asking).status_code == 503
        assert not gateway.engine._kept()

    @on_sqlite
    async def test_twice_is_once(self, admin: httpx.AsyncClient, model: str) -> None:
        for act in ("unload", "unload", "load", "load"):
            assert (await admin.post(f"/v2/repository/models/digits/{act}")).status_code == 200
        acts = [row["action"] for row in (await admin.get("/v1/audit")).json()["items"]]
        assert acts[-2:] == ["model.unloaded", "model.loaded"]

    @on_sqlite
    async def test_is_the_owners(
        self, app: FastAPI, settings: Settings, clock: SetClock, admin: httpx.AsyncClient, model: str
    ) -> None:
        auditor = await mint_admin(settings, clock, Role.AUDITOR)
        for act in ("load", "unload"):
            path = f"/v2/repository/models/digits/{act}"
            assert (await Caller(app).http.post(path)).status_code == 401
            assert (await Caller(app).http.post(path, headers={"X-API-Key": auditor})).status_code == 403
            assert (await admin.post(f"/v2/repository/models/nosuch/{act}")).status_code == 404

    @on_sqlite
    async def test_takes_no_other_model_in_its_place(self, admin: httpx.AsyncClient, model: str) -> None:
        body = {"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}}
        refused = await admin.post("/v2/repository/models/digits/load", json=body)
        assert refused.status_code == 501
        assert refused.json()["errors"][0]["field"] == "parameters"
        assert (await admin.post("/v2/repository/models/digits/load", content=b"[]")).status_code == 400
        body = {"parameters": {"unload_dependents": True}}
        assert (await admin.post("/v2/repository/models/digits/unload", json=body)).status_code == 200


@on_sqlite
class TestMemory:
    async def test_is_bounded_and_what_was_asked_for_longest_ago_goes_first(
        self, settings: Settings, clock: SetClock, app: FastAPI, admin: httpx.AsyncClient, artefact: Artefact,
        digits: data.Dataset,
    ) -> None:  # fmt: skip
        names = ["one", "two", "three"]
        for name in names:
            assert (await upload(admin, renamed(artefact, name))).status_code == 201
        one = next(iter(app.state.gateway.engine._kept().values()))
        room_for_two = settings.model_copy(update={"loaded_bytes": int(2.5 * one.nbytes)})
        async with another_gateway(room_for_two, clock) as bounded:
            engine = bounded.state.gateway.engine

            def kept() -> list[str]:
                return [each.version.model_name for each in engine._kept().values()]

            await asyncio.sleep(0.2)
            assert kept() == ["two", "three"], "they were warmed in turn, and once"
            for name, left in (("two", ["three", "two"]), ("one", ["two", "one"]), ("two", ["one", "two"])):
                answer = await Caller(bounded).predict([sample(digits)], model=name)
                assert answer.status_code == 200
                assert kept() == left
            answers = await asyncio.gather(
                *(Caller(bounded).predict([sample(digits)], model=name) for name in names * 5)
            )
            assert {answer.status_code for answer in answers} == {200}
            assert len(kept()) <= 2

    async def test_one_that_is_larger_than_all_of_it_is_served(
        self, settings: Settings, clock: SetClock, app: FastAPI, model: str, digits: data.Dataset
    ) -> None:
        async with another_gateway(settings.model_copy(update={"loaded_bytes": 1}), clock) as tiny:
            assert await answering(tiny, digits) == 1
            assert await answering(tiny, digits) == 1


def weights(home: Path, version: int = 2) -> Path:
    return home / "models" / "digits" / str(version) / "weights.safetensors"


def spoil(home: Path, version: int = 2) -> bytes:
    """Cut a version's weights off; what they were."""
    whole = weights(home, version).read_bytes()
    weights(home, version).write_bytes(whole[:-1])
    return whole
