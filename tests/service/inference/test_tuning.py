"""The fastest engine is found while a version answers already, changes no answer, and is remembered."""

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from models import data
from models.engines import ENGINES
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.inference import exporting
from service.inference.tuning import Tuner
from service.settings import Settings
from tests.service.asking import Caller, another_gateway, labels, on_sqlite, sample
from tests.service.catalogue.uploads import renamed, upload
from tests.service.conftest import Issue, SetClock

pytestmark = on_sqlite
WANTED = ("torchscript", "onnxruntime")


@pytest.fixture
def tuned(settings: Settings) -> Settings:
    """For another gateway over the same home."""
    return settings.model_copy(update={"engines": WANTED})


def engine_of(gateway: Gateway) -> str:
    """What the one version that is in memory runs on."""
    (loaded,) = gateway.engine._kept().values()
    return loaded.engine


async def scores(app: FastAPI, digits: data.Dataset, secret: str | None = None) -> Any:
    answer = await Caller(app).predict([sample(digits, i) for i in range(5)], secret)
    assert answer.status_code == 200, answer.text
    return np.array([each["scores"] for each in answer.json()["predictions"]])


async def test_it_changes_no_answer(
    app: FastAPI, gateway: Gateway, tuned: Settings, clock: SetClock, issue: Issue, digits: data.Dataset
) -> None:
    key, print_ = await issue("key"), await issue("fingerprint")
    right, lie = await scores(app, digits, key.secret), await scores(app, digits)
    assert engine_of(gateway) == "eager"
    async with another_gateway(tuned, clock) as other:
        await other.state.gateway.tuner.settled()
        assert engine_of(other.state.gateway) in WANTED
        assert await scores(other, digits, key.secret) == pytest.approx(right, abs=1e-5)
        assert (await scores(other, digits) == lie).all(), "a lie depends on the picture alone"
        with capture_logs() as logged:
            token = (await Caller(other).show_fingerprint(print_.png)).json()["token"]
        assert labels(await Caller(other).predict([sample(digits)], token)) == [str(digits.test.labels[0])]
        assert not [each for each in logged if each["event"] == "session.fingerprint.drift"]


async def test_what_was_found_is_remembered(
    tuned: Settings, clock: SetClock, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with another_gateway(tuned, clock) as first:
        await first.state.gateway.tuner.settled()
        found = engine_of(first.state.gateway)

    async def again(*_: object) -> str:
        raise AssertionError("it is measured again")

    monkeypatch.setattr(Tuner, "_fastest", again)
    async with another_gateway(tuned, clock) as second:
        await second.state.gateway.tuner.settled()
        assert engine_of(second.state.gateway) == found


async def test_a_memory_of_rubbish_is_none(tuned: Settings, clock: SetClock, model: str) -> None:
    async with another_gateway(tuned, clock) as first:
        await first.state.gateway.tuner.settled()
    (memory,) = (tuned.home / "engines").iterdir()
    memory.write_bytes(b"\xff../../evil")
    async with another_gateway(tuned, clock) as second:
        await second.state.gateway.tuner.settled()
        assert engine_of(second.state.gateway) in WANTED
    assert memory.read_text() in WANTED


async def test_answers_go_on_while_engines_are_built(
    tuned: Settings, clock: SetClock, issue: Issue, digits: data.Dataset
) -> None:
    key, answered = await issue("key"), 0
    async with another_gateway(tuned, clock) as other:
        looking = asyncio.create_task(other.state.gateway.tuner.settled())
        while not looking.done():
            answer = await Caller(other).predict([sample(digits)], key.secret)
            assert labels(answer) == [str(digits.test.labels[0])]
            answered += 1
        assert engine_of(other.state.gateway) in WANTED
    assert answered > 20


async def test_what_left_memory_is_not_tuned(tuned: Settings, clock: SetClock, model: str) -> None:
    async with another_gateway(tuned.model_copy(update={"engines": ("eager",)}), clock) as other:
        gateway, looked = other.state.gateway, Tuner(other.state.gateway.engine, tuned.home / "engines", WANTED, {})
        gateway.engine.on_loaded = looked._enqueue  # it has its turn later
        (version,) = gateway.book.versions.values()
        for _ in range(3):
            gateway.engine.forget({version.id})
            await gateway.engine.load(version)
        gateway.engine.forget({version.id})
        await asyncio.sleep(0)
        assert looked._queue.qsize() == 1
        looked.start()
        await looked.settled()
        assert not (tuned.home / "engines").exists()
        await looked.stop()


async def test_room_is_made_for_the_second_copy_of_the_weights(
    tuned: Settings, clock: SetClock, admin: httpx.AsyncClient, app: FastAPI, model: str, artefact: Artefact
) -> None:
    assert (await upload(admin, renamed(artefact, "other"))).status_code == 201
    await app.state.gateway.engine.load(app.state.gateway.book.models["digits"].serving)
    held = sum(each.nbytes for each in app.state.gateway.engine._kept().values())
    async with another_gateway(tuned.model_copy(update={"loaded_bytes": held + 1}), clock) as other:
        assert len(other.state.gateway.engine._kept()) == 2
        await other.state.gateway.tuner.settled()
        assert sum(each.nbytes for each in other.state.gateway.engine._kept().values()) <= held + 1


async def test_engines_that_answer_otherwise_or_fail_are_left_out(
    tuned: Settings, clock: SetClock, model: str, digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(predictor: Any, _: Any) -> Any:
        return lambda images: predictor(images) + images.new_tensor([1.0] + [0.0] * 9)

    monkeypatch.setitem(ENGINES, "torchscript", wrong)
    monkeypatch.setattr(exporting, "_COMMAND", "raise SystemExit(3)")
    with capture_logs() as logged:
        async with another_gateway(tuned, clock) as other:
            await other.state.gateway.tuner.settled()
            assert engine_of(other.state.gateway) == "eager"
            assert (await Caller(other).predict([sample(digits)])).status_code == 200
    left_out = {each["engine"]: each["reason"] for each in logged if each["event"] == "tuning.engine.left_out"}
    assert left_out.keys() == set(WANTED)
    assert "ended with 3" in left_out["onnxruntime"]
