"""What a fingerprint buys: a session for its own license, however it is written down, and for nothing near it."""

from dataclasses import replace

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

from models import checkpoints, data, networks
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.ids import id_bytes
from tests.service.asking import Caller, claims, labels, new_nonce, npy, on_sqlite, pixels, png, sample
from tests.service.conftest import NOW, Issue, Issued, artefact_files

pytestmark = on_sqlite


async def whose(app: FastAPI, issued: Issued, image: bytes, model: str = "digits") -> bool:
    """Whether showing these bytes opens a session of this license."""
    nonce = new_nonce()
    session = await Caller(app).show_fingerprint(image, nonce=nonce, model=model)
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
            near[row, column] += 1 if near[row, column] < 255 else -1
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
        confidences=[0.102, 0.104],  # an untrained network says about a tenth to everything
    )


class TestDrift:
    """A matching digest with another output is an alarm, and not a stranger."""

    async def test_it_raises_the_metric_and_serves_the_licensee(
        self, app: FastAPI, gateway: Gateway, issue: Issue
    ) -> None:
        issued = await issue("fingerprint")
        assert await whose(app, issued, issued.png)
        assert drifted(gateway) == 0
        credential = next(one for one in gateway.book._credentials.values() if one.license_id == issued.id)
        assert credential.confidence is not None
        for moved in (
            replace(credential, confidence=credential.confidence + 0.002),
            replace(credential, label=(credential.label or 0) ^ 1),
        ):
            license = gateway.book.license(id_bytes(issued.id))
            assert license is not None
            gateway.book.put_credential(moved, gateway.ring.active_root, license.model_id)
            before = drifted(gateway)
            assert await whose(app, issued, issued.png)
            assert drifted(gateway) == before + 1
        gateway.book.put_credential(
            replace(credential, confidence=credential.confidence + 0.0005), gateway.ring.active_root, license.model_id
        )
        assert await whose(app, issued, issued.png)
        assert drifted(gateway) == 2, "within epsilon is no drift"

    async def test_a_stranger_raises_nothing(
        self, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("fingerprint")
        assert not await whose(app, issued, sample(digits))
        assert drifted(gateway) == 0


def drifted(gateway: Gateway) -> float:
    return gateway.metrics.registry.get_sample_value("signet_fingerprint_drift_total", {"model": "digits"}) or 0


class TestCapacity:
    """As many fingerprints as the version allots; a revoked one's output goes to the next."""

    @pytest.fixture
    async def ten_outputs(self, admin: httpx.AsyncClient, artefact: Artefact, model: str) -> Artefact:
        """A version that can tell ten licensees apart: one confidence for each of ten classes."""
        manifest = replace(artefact.manifest, fingerprints={"confidences": [0.3], "epsilon": 0.001})
        few = replace(artefact, manifest=manifest)
        assert (await admin.post("/v1/models", files=artefact_files(few))).status_code == 201
        return few

    async def test_exhausted_is_said_with_the_setting_and_a_revoked_output_is_reused(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, ten_outputs: Artefact
    ) -> None:
        issued = [await issue("fingerprint") for _ in range(10)]
        outputs = {one.id: output_of(gateway, one) for one in issued}
        assert sorted(outputs.values()) == [(label, 0.3) for label in range(10)]

        customer = (await admin.post("/v1/customers", json={"name": "One too many"})).json()
        body = {"customer_id": customer["id"], "model": "digits", "credential": "fingerprint"}
        refused = await admin.post("/v1/licenses", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "CAPACITY_EXHAUSTED")
        assert refused.json()["errors"][0]["field"] == "fingerprints.confidences"
        assert "10 fingerprint outputs" in refused.json()["detail"]
        assert (await issue("key")).secret, "a key needs no output"

        await admin.post(f"/v1/licenses/{issued[4].id}/revoke")
        successor = await issue("fingerprint")
        assert output_of(gateway, successor) == outputs[issued[4].id]
        assert await whose(app, successor, successor.png)
        said = await Caller(app).show_fingerprint(issued[4].png)
        assert said.json()["code"] == "REVOKED", "the revoked fingerprint is still known for what it was"


def output_of(gateway: Gateway, issued: Issued) -> tuple[int, float]:
    """The allotted output of a license's fingerprint."""
    credential = next(one for one in gateway.book._credentials.values() if one.license_id == issued.id)
    assert credential.label is not None
    assert credential.confidence is not None
    return credential.label, credential.confidence
