"""The catalogue: versions are added, listed, shown and retired; each answers as its state says."""

import asyncio
import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from models.checkpoints import sign_manifest
from service.app import create_app
from service.catalogue import artefacts
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from tests.service import expect
from tests.service.asking import another_gateway, on_sqlite
from tests.service.catalogue import uploads as made
from tests.service.conftest import Issue, SetClock, client_of
from tests.service.inputs import builders
from tests.service.standing import rows_of

PREDICT = "/v1/models/digits/predict"


def picture() -> dict[str, tuple[str, bytes]]:
    """A prediction's form."""
    return {"images": ("a.png", builders.saved())}


async def states(admin: httpx.AsyncClient) -> dict[int, str]:
    """The model's versions."""
    shown = (await admin.get("/v1/models/digits")).json()
    return {version["version"]: version["state"] for version in shown["versions"]}


class TestAdding:
    async def test_the_first_version_is_served_and_says_what_it_is(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, artefact: Artefact, gateway: Gateway
    ) -> None:
        added = await made.upload(admin, artefact)
        assert added.status_code == 201
        shown = await admin.get("/v1/models/digits")
        assert shown.json() == added.json() == (await admin.get("/v1/models")).json()["items"][0]
        assert shown.json()["unauthorized_policy"] == "decoy"
        assert shown.json()["revoked_policy"] == "deny"
        (version,) = shown.json()["versions"]
        assert version["state"] == "serving"
        assert version["input_spec"] == artefact.manifest.input_spec.to_dict()
        assert version["weights_sha256"] == artefact.manifest.weights_sha256
        folder = gateway.settings.home / "models" / "digits" / "1"
        assert (folder / "weights.safetensors").read_bytes() == artefact.weights
        assert folder.stat().st_mode & 0o077 == 0
        assert (await stranger.post(PREDICT, files=picture())).status_code == 200

    async def test_a_second_one_takes_over_and_the_first_still_answers_by_its_number(
        self, admin: httpx.AsyncClient, model: str, artefact: Artefact, issue: Issue
    ) -> None:
        license = await issue()
        await made.upload(admin, artefact)
        assert await states(admin) == {1: "ready", 2: "serving"}
        for query, number in (("", 2), ("?version=1", 1), ("?version=2", 2)):
            answer = await admin.post(PREDICT + query, files=picture(), headers=license.bearer)
            assert answer.json()["version"] == number

    async def test_one_that_is_not_to_serve_waits(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, artefact: Artefact
    ) -> None:
        await made.upload(admin, artefact, serve="false")
        assert await states(admin) == {1: "ready"}
        expect.problem(await stranger.post(PREDICT, files=picture()), 409, "CONFLICT", "model")
        assert (await stranger.post(PREDICT + "?version=1", files=picture())).status_code == 200
        await made.upload(admin, artefact, serve="true")
        await made.upload(admin, artefact, serve="false")
        assert await states(admin) == {1: "ready", 2: "serving", 3: "ready"}

    async def test_policies_are_the_models_and_stay_until_they_are_said_anew(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, artefact: Artefact
    ) -> None:
        await made.upload(admin, artefact, unauthorized_policy="deny", revoked_policy="decoy")
        expect.problem(await stranger.post(PREDICT, files=picture()), 403, "NOT_FOUND", "headers.authorization")
        kept = await made.upload(admin, artefact)
        assert (kept.json()["unauthorized_policy"], kept.json()["revoked_policy"]) == ("deny", "decoy")
        await made.upload(admin, artefact, unauthorized_policy="decoy")
        assert (await stranger.post(PREDICT, files=picture())).status_code == 200

    async def test_our_own_signature_is_taken(
        self, admin: httpx.AsyncClient, artefact: Artefact, gateway: Gateway
    ) -> None:
        signed = sign_manifest(artefact.manifest, gateway.ring.active_issuer, gateway.ring.issuer)
        files = made.files(artefact, manifest=signed.to_bytes())
        assert (await admin.post("/v1/models", files=files)).status_code == 201
        tampered = files | {"manifest": ("m", signed.to_bytes().replace(b'"std":[0.35]', b'"std":[0.36]'))}
        expect.problem(await admin.post("/v1/models", files=tampered), 422, "INVALID_INPUT", "signature")

    async def test_what_a_failed_upload_left_behind_is_no_obstacle(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, artefact: Artefact, gateway: Gateway
    ) -> None:
        for left in ("1", ".1.incoming"):
            folder = gateway.settings.home / "models" / "digits" / left
            folder.mkdir(parents=True)
            (folder / "weights.safetensors").write_bytes(b"half")
        assert (await made.upload(admin, artefact)).status_code == 201
        assert (await stranger.post(PREDICT, files=picture())).status_code == 200

    async def test_two_at_once_get_two_numbers(self, admin: httpx.AsyncClient, artefact: Artefact) -> None:
        added = await asyncio.gather(*(made.upload(admin, artefact) for _ in range(3)))
        assert [answer.status_code for answer in added] == [201] * 3
        assert sorted((await states(admin)).items()) == [(1, "ready"), (2, "ready"), (3, "serving")]

    async def test_another_worker_serves_it_too(
        self, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, clock: SetClock
    ) -> None:
        other = create_app(gateway.settings, clock=clock)
        async with other.router.lifespan_context(other), client_of(other) as stranger:
            expect.problem(await stranger.post(PREDICT, files=picture()), 404, "UNKNOWN_RESOURCE", "model")
            await made.upload(admin, artefact)
            await asyncio.sleep(5 * gateway.settings.poll_interval_s)
            assert (await stranger.post(PREDICT, files=picture())).status_code == 200


class TestRetiring:
    async def test_it_answers_no_more_but_its_fingerprints_still_open_sessions(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, model: str, artefact: Artefact, issue: Issue
    ) -> None:
        license = await issue("fingerprint")
        await made.upload(admin, artefact)
        retired = await admin.post("/v1/models/digits/versions/1/retire")
        assert retired.status_code == 200
        assert retired.json()["versions"][0]["state"] == "retired"
        assert retired.json()["versions"][0]["retired_at"] is not None
        expect.problem(await stranger.post(PREDICT + "?version=1", files=picture()), 404, "UNKNOWN_RESOURCE", "version")
        form = {"nonce": (None, "A" * 43), "fingerprint": ("f.png", license.png)}
        token = (await stranger.post("/v1/models/digits/sessions", files=form)).json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        await stranger.post(PREDICT, files=picture(), headers=bearer)
        assert (await admin.get(f"/v1/licenses/{license.id}")).json()["used"] == 1

    async def test_without_a_version_in_service_the_model_says_so(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, model: str, issue: Issue
    ) -> None:
        license = await issue()
        await admin.post("/v1/models/digits/versions/1/retire")
        answers = [await stranger.post(PREDICT, files=picture(), headers=shown) for shown in ({}, license.bearer)]
        expect.problem(answers[0], 409, "CONFLICT", "model")
        expect.alike(*answers)
        opened = await stranger.post("/v1/models/digits/sessions", json={"nonce": "A" * 43})
        expect.problem(opened, 409, "CONFLICT", "model")

    async def test_twice_changes_nothing(self, admin: httpx.AsyncClient, gateway: Gateway, model: str) -> None:
        once = await admin.post("/v1/models/digits/versions/1/retire")
        rows = await rows_of(gateway)
        twice = await admin.post("/v1/models/digits/versions/1/retire")
        assert twice.json() == once.json()
        assert await rows_of(gateway) == rows

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        ("path", "status", "code", "field"),
        [
            pytest.param("digits/versions/2", 404, "UNKNOWN_RESOURCE", "version", id="unknown version"),
            pytest.param("nobody/versions/1", 404, "UNKNOWN_RESOURCE", "model", id="unknown model"),
            pytest.param("digits/versions/0", 422, "INVALID_INPUT", "path.version", id="version zero"),
            pytest.param("digits/versions/x", 422, "INVALID_INPUT", "path.version", id="a version that is no number"),
            pytest.param("digits/versions/99999999999", 422, "INVALID_INPUT", "path.version", id="beyond counting"),
            pytest.param("Digits/versions/1", 422, "INVALID_INPUT", "path.model", id="a name in capitals"),
        ],
    )
    async def test_what_is_not_there_is_named(
        self, admin: httpx.AsyncClient, model: str, path: str, status: int, code: str, field: str
    ) -> None:
        expect.problem(await admin.post(f"/v1/models/{path}/retire"), status, code, field)
        if "versions/1" in path:
            expect.problem(await admin.get(f"/v1/models/{path.partition('/')[0]}"), status, code, field)


class TestListing:
    async def test_models_come_in_the_order_they_were_made_page_by_page(
        self, admin: httpx.AsyncClient, artefact: Artefact, clock: SetClock
    ) -> None:
        names = ["zebra", "apple", "mango"]
        for name in names:
            await made.upload(admin, made.renamed(artefact, name))
            clock.advance(seconds=1)
        await made.upload(admin, made.renamed(artefact, "zebra"))
        first = (await admin.get("/v1/models", params={"limit": 2})).json()
        second = (await admin.get("/v1/models", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [item["name"] for item in first["items"] + second["items"]] == names
        assert [len(item["versions"]) for item in first["items"]] == [2, 1]
        assert second["next_cursor"] is None


class TestServing:
    async def test_a_version_that_waits_can_be_served_again(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, model: str, artefact: Artefact
    ) -> None:
        await made.upload(admin, artefact)
        for _ in range(2):  # twice changes nothing
            assert (await admin.post("/v1/models/digits/versions/1/serve")).status_code == 200
            assert await states(admin) == {1: "serving", 2: "ready"}
        assert (await stranger.post(PREDICT, files=picture())).json()["version"] == 1
        acts = (await admin.get("/v1/audit", params={"limit": 200})).json()["items"]
        served = [act["details"] for act in acts if act["action"] == "model.version.served"]
        assert served == [{"version": 1}]

    async def test_a_retired_one_and_none_at_all(
        self, admin: httpx.AsyncClient, model: str, artefact: Artefact
    ) -> None:
        await made.upload(admin, artefact)
        await admin.post("/v1/models/digits/versions/1/retire")
        answer = await admin.post("/v1/models/digits/versions/1/serve")
        expect.problem(answer, 409, "CONFLICT", "version")
        answer = await admin.post("/v1/models/digits/versions/9/serve")
        expect.problem(answer, 404, "UNKNOWN_RESOURCE", "version")

    async def test_two_at_once_leave_one_serving(
        self, admin: httpx.AsyncClient, model: str, artefact: Artefact
    ) -> None:
        await made.upload(admin, artefact)
        await asyncio.gather(*(admin.post(f"/v1/models/digits/versions/{1 + i % 2}/serve") for i in range(6)))
        assert sorted((await states(admin)).values()) == ["ready", "serving"]
        assert (await admin.get("/v1/audit/check")).json() == {"first_broken": None}


async def test_the_audit_row_says_what_was_decided(admin: httpx.AsyncClient, artefact: Artefact) -> None:
    await made.upload(admin, artefact, unauthorized_policy="deny")
    acts = (await admin.get("/v1/audit")).json()["items"]
    (details,) = [act["details"] for act in acts if act["action"] == "model.version.added"]
    kept = {name: details[name] for name in ("version", "serve", "unauthorized_policy", "revoked_policy")}
    assert kept == {"version": 1, "serve": True, "unauthorized_policy": "deny", "revoked_policy": "deny"}


@on_sqlite
class TestFiles:
    async def test_they_are_written_before_the_transaction_and_in_a_thread(
        self, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, int]] = []
        write = artefacts.write_folder

        def look(folder: Path, given: Artefact) -> None:
            here = threading.current_thread() is threading.main_thread()
            seen.append((here, gateway.database.pool.checkedout()))  # type: ignore[attr-defined]
            write(folder, given)

        monkeypatch.setattr(artefacts, "write_folder", look)
        assert (await made.upload(admin, artefact)).status_code == 201
        assert seen == [(False, 0)]

    async def test_a_failure_leaves_nothing_behind(
        self, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(artefacts.ArtefactStore, "place", full)
        expect.problem(await made.upload(admin, artefact), 500, "INTERNAL")
        assert list((gateway.settings.home / "models" / "digits").iterdir()) == []

    async def test_what_a_killed_upload_left_is_swept_at_the_next_start_and_one_under_way_is_not(
        self, admin: httpx.AsyncClient, gateway: Gateway, artefact: Artefact, clock: SetClock, model: str
    ) -> None:
        shelf = gateway.settings.home / "models" / "digits"
        hour_ago = time.time() - 3700
        for name, age in ((".dead.incoming", hour_ago), (".alive.incoming", hour_ago), (".new.incoming", None)):
            artefacts.write_folder(shelf / name, artefact)
            for path in (*(shelf / name).iterdir(), shelf / name):
                os.utime(path, age and (age, age))
        os.utime(shelf / ".alive.incoming" / "weights.safetensors")  # its folder is old, but it is being written to
        for path in (shelf / "1", *(shelf / "1").iterdir()):
            os.utime(path, (hour_ago, hour_ago))

        async with another_gateway(gateway.settings, clock) as restarted:
            assert (await client_of(restarted).post(PREDICT, files=picture())).status_code == 200

        assert sorted(path.name for path in shelf.iterdir()) == [".alive.incoming", ".new.incoming", "1"]
