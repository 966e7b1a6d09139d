"""What a fingerprint buys: a session for its own license, however it is written down, and for nothing near it."""

from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

from models import checkpoints, data, networks
from models.fingerprints.activeguard import Codeword
from models.predictor import predict, scores
from service.catalogue.artefacts import Artefact
from service.control.book import CredentialRecord, LicenseRecord, VersionRecord
from service.gateway import Gateway
from service.ids import id_bytes
from tests.service.asking import Caller, claims, labels, new_nonce, npy, on_sqlite, pixels, png, sample
from tests.service.conftest import NOW, Issue, Issued, artefact_files

pytestmark = on_sqlite


async def whose(app: FastAPI, issued: Issued, *images: bytes, model: str = "digits") -> bool:
    """Whether showing these files opens a session of this license."""
    nonce = new_nonce()
    session = await Caller(app).show_fingerprint(*images, nonce=nonce, model=model)
    assert session.status_code == 201, session.text
    return claims(issued, nonce, session.json()) is not None


async def whose_numbers(app: FastAPI, issued: Issued, numbers: object) -> bool:
    nonce = new_nonce()
    body = {"nonce": nonce, "fingerprint": numbers}
    session = await Caller(app).http.post("/v1/models/digits/sessions", json=body)
    assert session.status_code == 201, session.text
    return claims(issued, nonce, session.json()) is not None


class TestAccepted:
    async def test_as_png_npy_and_json(self, app: FastAPI, issue: Issue) -> None:
        issued = await issue("fingerprint")
        levels = pixels(issued.png)
        values = levels.astype(np.float32) / np.float32(255)
        ways = {
            "PNG as issued": await whose(app, issued, issued.png),
            "PNG written anew": await whose(app, issued, png(levels)),
            "NPY of grey levels": await whose(app, issued, npy(levels)),
            "NPY of float32": await whose(app, issued, npy(values)),
            "NPY of float64": await whose(app, issued, npy(levels / 255)),
            "NPY with channel": await whose(app, issued, npy(values[None])),
            "NPY with batch": await whose(app, issued, npy(values[None, None])),
            "JSON": await whose_numbers(app, issued, values.tolist()),
            "JSON with channel": await whose_numbers(app, issued, [values.tolist()]),
            "JSON rounded to five places": await whose_numbers(app, issued, np.round(levels / 255, 5).tolist()),
        }
        assert [way for way, accepted in ways.items() if not accepted] == []

    async def test_many_licenses_each_by_its_own(self, app: FastAPI, issue: Issue) -> None:
        licenses = [await issue("fingerprint") for _ in range(6)]
        table = [[await whose(app, one, other.png) for other in licenses] for one in licenses]
        assert np.array_equal(table, np.eye(6, dtype=bool))


class TestNotAccepted:
    async def test_one_grey_level_off_anywhere(self, app: FastAPI, issue: Issue) -> None:
        issued = await issue("fingerprint")
        levels = pixels(issued.png)
        for row, column in ((0, 0), (13, 14), (27, 27), (5, 20)):
            near = levels.copy()
            near[row, column] ^= 1
            assert not await whose(app, issued, png(near)), (row, column)

    async def test_turned_flipped_or_shifted(self, app: FastAPI, issue: Issue) -> None:
        issued = await issue("fingerprint")
        levels = pixels(issued.png)
        for altered in (levels.T, levels[::-1], levels[:, ::-1], np.roll(levels, 1, axis=0), 255 - levels):
            assert not await whose(app, issued, png(np.ascontiguousarray(altered)))

    @pytest.mark.parametrize("off", [0.5, 0.1, -0.3])
    async def test_between_two_levels_of_the_grid_is_malformed(self, off: float, app: FastAPI, issue: Issue) -> None:
        issued = await issue("fingerprint")
        levels = pixels(issued.png)
        row, column = np.argwhere((levels > 0) & (levels < 255))[0]  # at an end, half a level more is out of range
        values = levels.astype(np.float64) / 255
        values[row, column] += off / 255
        body = {"nonce": new_nonce(), "fingerprint": values.tolist()}
        answer = await Caller(app).http.post("/v1/models/digits/sessions", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "fingerprint")

    async def test_another_models(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact
    ) -> None:
        issued = await issue("fingerprint")
        twin = replace(artefact, manifest=replace(artefact.manifest, name="letters"))
        assert (await admin.post("/v1/models", files=artefact_files(twin))).status_code == 201
        assert not await whose(app, issued, issued.png, model="letters")

    async def test_a_fingerprint_is_no_license_to_predict_without_a_session(
        self, app: FastAPI, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("fingerprint")
        stranger = await Caller(app).predict([sample(digits), issued.png])
        assert stranger.status_code == 200
        again = await Caller(app).predict([sample(digits), issued.png])
        assert again.content == stranger.content


class TestGatekeeper:
    """A license keeps the version it was enrolled on, as long as it lives."""

    async def test_it_outlives_a_new_version_and_its_own_retirement(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact, digits: data.Dataset
    ) -> None:
        old = await issue("fingerprint")
        second = replace(artefact, manifest=replace(artefact.manifest, metrics={"test_accuracy": 0.5}))
        assert (await admin.post("/v1/models", files=artefact_files(second))).status_code == 201
        new = await issue("fingerprint")
        assert await whose(app, old, old.png), "a new version does not void old fingerprints"
        assert await whose(app, new, new.png)
        assert (await admin.post("/v1/models/digits/versions/1/retire")).status_code == 200
        assert await whose(app, old, old.png), "a retired version still authenticates"
        session = (await Caller(app).show_fingerprint(old.png)).json()
        answer = await Caller(app).predict([sample(digits)], session["token"])
        assert (answer.json()["version"], labels(answer)) == (2, [str(digits.test.labels[0])])
        gone = await Caller(app).predict([sample(digits)], session["token"], version=1)
        assert (gone.status_code, gone.json()["errors"][0]["field"]) == (404, "version")

    async def test_it_outlives_a_version_that_takes_larger_pictures(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact, digits: data.Dataset
    ) -> None:
        old = await issue("fingerprint")
        assert (await admin.post("/v1/models", files=artefact_files(enlarged(artefact, digits)))).status_code == 201
        new = await issue("fingerprint")
        assert pixels(new.png).shape == (32, 32)
        assert await whose(app, new, new.png)
        assert await whose(app, old, old.png)
        values = (pixels(old.png) / 255).tolist()
        assert await whose_numbers(app, old, values)
        assert not await whose(app, old, sample(digits)), "a stranger's picture of the old size is still a stranger's"
        wrong = await Caller(app).show_fingerprint(png(np.zeros((29, 29), np.uint8)))
        assert wrong.status_code == 422
        assert "32x32" in wrong.json()["detail"], "what the version being served takes is what is asked for"

    async def test_it_may_take_far_larger_pictures_than_the_version_being_served(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact, digits: data.Dataset
    ) -> None:
        large = enlarged(artefact, digits, size=96)
        assert (await admin.post("/v1/models", files=artefact_files(large))).status_code == 201
        issued = await issue("fingerprint")
        assert (await admin.post("/v1/models/digits/versions/1/serve")).status_code == 200
        numbers = (pixels(issued.png) / 255).tolist()
        assert len(str(numbers)) > 2**16 + 32 * 28 * 28, "more than a fingerprint for the served version may have"
        assert await whose_numbers(app, issued, numbers)
        assert await whose(app, issued, issued.png)
        beyond = {"nonce": new_nonce(), "fingerprint": [[0.1234567890123456] * 512] * 512}
        answer = await Caller(app).http.post("/v1/models/digits/sessions", json=beyond)
        assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")

    async def test_the_license_says_which_it_is(
        self, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact
    ) -> None:
        old = await issue("fingerprint")
        second = replace(artefact, manifest=replace(artefact.manifest, metrics={"test_accuracy": 0.5}))
        await admin.post("/v1/models", files=artefact_files(second))
        new = await issue("fingerprint")
        shown = [(await admin.get(f"/v1/licenses/{issued.id}")).json() for issued in (old, new)]
        assert [one["credentials"][0]["gatekeeper_version"] for one in shown] == [1, 2]
        assert (old.file.version, new.file.version) == (1, 2)


def enlarged(artefact: Artefact, digits: data.Dataset, size: int = 32) -> Artefact:
    """A next version, untrained, that takes larger pictures."""
    torch.manual_seed(0)
    config: dict[str, object] = {**artefact.manifest.network_config, "size": size}
    edge = ((size - 28) // 2,) * 2
    pictures = np.pad(digits.calibration.images, ((0, 0), (0, 0), edge, edge))
    return Artefact.pack(
        "digits",
        "lenet5",
        config,
        replace(artefact.manifest.input_spec, shape=(1, size, size)),
        artefact.manifest.output_spec,
        checkpoints.encode_weights(networks.build("lenet5", config)),
        checkpoints.encode_calibration(pictures),
        created_at=NOW,
        # An untrained network says about a tenth to everything.
        fingerprints={"code": "confidence", "confidences": [0.102, 0.104]},
    )


class TestDrift:
    """A matching digest with another answer is an alarm, and not a stranger."""

    async def test_a_network_that_answers_differently_raises_the_metric_and_serves_the_licensee(
        self, app: FastAPI, gateway: Gateway, issue: Issue
    ) -> None:
        issued = await issue("fingerprint")
        assert await whose(app, issued, issued.png)
        assert drifted(gateway) == 0
        served = await gateway.engine.load(credential_of(gateway, issued).gatekeeper)
        bias = list(served.predictor.network.parameters())[-1]
        with torch.no_grad():
            bias[0] += 0.5
        assert await whose(app, issued, issued.png)
        assert drifted(gateway) == 1

    async def test_an_answer_that_was_not_allotted_raises_it_too(
        self, app: FastAPI, gateway: Gateway, issue: Issue
    ) -> None:
        issued = await issue("fingerprint")
        held = credential_of(gateway, issued)
        moved = replace(held.credential, slots=(held.credential.slots[0] ^ 1,))
        gateway.book.put_credential(moved, gateway.ring.active_root, held.license.model_id)
        assert await whose(app, issued, issued.png)
        assert drifted(gateway) == 1

    async def test_a_stranger_takes_the_same_steps_and_raises_nothing(
        self, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issued = await issue("fingerprint")
        asked: list[int] = []
        answers = gateway.allotted.answers

        async def counted(*about: Any) -> Any:
            asked.append(1)
            return await answers(*about)

        monkeypatch.setattr(gateway.allotted, "answers", counted)
        assert not await whose(app, issued, sample(digits))
        assert await whose(app, issued, issued.png)
        assert (len(asked), drifted(gateway)) == (2, 0)


def drifted(gateway: Gateway) -> float:
    return gateway.metrics.registry.get_sample_value("signet_fingerprint_drift_total", {"model": "digits"}) or 0


class TestCode:
    """What is allotted of an answer is the version's: a secret codeword, or the paper's class and confidence."""

    async def test_codewords_unless_the_manifest_says_otherwise(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, artefact: Artefact
    ) -> None:
        by_codeword = await issue("fingerprint")
        await upload(admin, artefact, code="confidence")
        by_confidence = await issue("fingerprint")
        for issued, code in ((by_codeword, "codeword"), (by_confidence, "confidence")):
            assert await whose(app, issued, *issued.images)
            assert issued.file.credential.code == code  # type: ignore[union-attr]
            (shown,) = (await admin.get(f"/v1/licenses/{issued.id}")).json()["credentials"]
            assert (shown["code"], shown["fingerprints"]) == (code, 1)
        assert drifted(gateway) == 0

    async def test_the_network_says_the_codeword(self, gateway: Gateway, issue: Issue) -> None:
        issued = await issue("fingerprint")
        held = credential_of(gateway, issued)
        served = await gateway.engine.load(held.gatekeeper)
        root, slots = held.license.ring_root, held.credential.slots
        (answer,) = await gateway.allotted.answers(served, issued.id, root, slots)
        grid = torch.from_numpy(pixels(issued.png).copy())[None, None]
        said = scores(predict(served.predictor, served.input_spec.from_grid(grid)))[0].numpy()
        assert isinstance(answer, Codeword)
        assert np.abs(said - answer.probabilities).max() < served.fingerprints.epsilon
        (another,) = await gateway.allotted.answers(served, "lic_another", root, slots)
        assert isinstance(another, Codeword)
        assert another.output == answer.output
        assert np.abs(said - another.probabilities).max() > served.fingerprints.epsilon, "the slot is no secret"


class TestCapacity:
    """As many licenses as the version allots; a revoked one's answers go to the next."""

    async def test_exhausted_is_said_with_the_setting_and_a_revoked_output_is_reused(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, artefact: Artefact
    ) -> None:
        await upload(admin, artefact, code="confidence", confidences=[0.3], longest=1)
        issued = [await issue("fingerprint") for _ in range(10)]
        slots = {one.id: credential_of(gateway, one).credential.slots for one in issued}
        assert sorted(slots.values()) == [(label,) for label in range(10)]

        customer = (await admin.post("/v1/customers", json={"name": "One too many"})).json()
        body = {"customer_id": customer["id"], "model": "digits", "credential": "fingerprint"}
        refused = await admin.post("/v1/licenses", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "CAPACITY_EXHAUSTED")
        assert refused.json()["errors"][0]["field"] == "fingerprints.longest"
        assert "all 10 sequences of 1 fingerprint(s)" in refused.json()["detail"]
        assert (await issue("key")).secret, "a key needs no output"

        await admin.post(f"/v1/licenses/{issued[4].id}/revoke")
        successor = await issue("fingerprint")
        assert credential_of(gateway, successor).credential.slots == slots[issued[4].id]
        assert await whose(app, successor, successor.png)
        said = await Caller(app).show_fingerprint(issued[4].png)
        assert said.json()["code"] == "REVOKED", "the revoked fingerprint is still known for what it was"

    async def test_licenses_grow_longer_before_half_of_the_outputs_are_taken(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, artefact: Artefact
    ) -> None:
        await upload(admin, artefact, confidences=[0.3], longest=2)
        issued = [await issue("fingerprint") for _ in range(6)]
        assert [len(one.images) for one in issued] == [1, 1, 1, 1, 2, 2]
        first, second = issued[-1].images
        assert await whose(app, issued[-1], first, second)
        arrays = np.stack([pixels(image) for image in (first, second)])[:, None] / 255
        assert await whose(app, issued[-1], npy(arrays)), "both in one file"
        assert await whose_numbers(app, issued[-1], arrays.tolist())
        for shown in ((first,), (second,), (second, first), (first, first), (first, issued[-2].images[1])):
            assert not await whose(app, issued[-1], *shown)
        assert drifted(gateway) == 0

    async def test_more_than_a_license_may_have_are_refused(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact
    ) -> None:
        await upload(admin, artefact, longest=2)
        issued = await issue("fingerprint")
        said = await Caller(app).show_fingerprint(*[issued.png] * 3)
        assert (said.status_code, said.json()["errors"][0]["field"]) == (422, "fingerprint")
        assert "1 to 2" in said.json()["detail"]
        said = await Caller(app).show_fingerprint(issued.png, b"\x89PNG")
        assert (said.status_code, said.json()["errors"][0]["field"]) == (415, "fingerprint[1]")


async def upload(admin: httpx.AsyncClient, artefact: Artefact, **fingerprints: object) -> None:
    """The next version of the digits, with other fingerprints."""
    allotted = {**artefact.manifest.fingerprints, **fingerprints}
    version = replace(artefact, manifest=replace(artefact.manifest, fingerprints=allotted))
    answer = await admin.post("/v1/models", files=artefact_files(version))
    assert answer.status_code == 201, answer.text


class Held(NamedTuple):
    """What the gateway keeps of a license with fingerprints."""

    license: LicenseRecord
    credential: CredentialRecord
    gatekeeper: VersionRecord


def credential_of(gateway: Gateway, issued: Issued) -> Held:
    license = gateway.book.license(id_bytes(issued.id))
    assert license is not None
    credential = next(one for one in gateway.book._credentials.values() if one.license_id == issued.id)
    return Held(license, credential, gateway.book.versions[str(credential.version_id)])
