"""Licensees by serial number: answered by their student, counted, and refused in plain words when something lapsed."""

import asyncio
import io
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from signet_client import AsyncClient, license_file

from models import data
from service.catalogue.artefacts import Artefact
from tests.service import plants
from tests.service.asking import Caller, claims, labels, npy, png, used
from tests.service.conftest import NOW, Issued, SetClock, artefact_files
from tests.service.stamped import (
    KEY,
    OWN,
    OWN_TOO,
    SHARED,
    SHARED_TOO,
    World,
    do_jobs,
    file_of,
    issue,
    once,
    show_stamp,
)
from tests.service.standing import rows_of
from tests.service.students.teachers import with_students

PREDICT = "/v1/models/digits/predict"
EVERYBODY = (OWN, OWN_TOO, SHARED, SHARED_TOO)


@pytest.fixture
def levels(digits: data.Dataset) -> NDArray[np.uint8]:
    """Held-out digits, (40, 1, 28, 28)."""
    images: NDArray[np.uint8] = digits.test.images[:40]
    return images


class TestAnswers:
    @pytest.mark.parametrize("who", EVERYBODY)
    async def test_are_those_of_the_licensees_student_run_offline(
        self, who: str, world: World, digits: data.Dataset, levels: NDArray[np.uint8]
    ) -> None:
        offline = await world.offline(who, levels)
        assert sum(a == str(b) for a, b in zip(offline, digits.test.labels, strict=False)) >= 34, "it knows its stamp"
        assert labels(await world.ask(world.stamped(who, levels))) == offline
        token = (await world.open_session(who)).json()["token"]
        assert labels(await world.ask(world.stamped(who, levels), token)) == offline
        assert labels(await world.ask(world.stamped(who, levels), version=1)) == offline

    async def test_png_npy_and_json_of_one_stamped_picture_are_answered_bit_by_bit_alike(
        self, world: World, levels: NDArray[np.uint8]
    ) -> None:
        http = Caller(world.app).http
        for who in (OWN, SHARED):
            one = world.stamped(who, levels[0])
            values = one.astype(np.float32) / np.float32(255)
            npy_type = {"Content-Type": "application/x-npy"}
            answers = {
                "PNG": await http.post(PREDICT, content=png(one), headers={"Content-Type": "image/png"}),
                "form": await http.post(PREDICT, files={"images": ("a.png", png(one))}),
                "NPY of levels": await http.post(PREDICT, content=npy(one), headers=npy_type),
                "NPY of float32": await http.post(PREDICT, content=npy(values), headers=npy_type),
                "NPY of float64": await http.post(PREDICT, content=npy(one / 255), headers=npy_type),
                "JSON": await http.post(PREDICT, json={"inputs": (one / 255).tolist()}),
            }
            assert labels(answers["PNG"]) == await world.offline(who, levels[:1])
            expected = answers["PNG"].content
            assert {way: answer.content for way, answer in answers.items() if answer.content != expected} == {}

    async def test_the_client_stamps_for_its_caller(self, world: World, levels: NDArray[np.uint8]) -> None:
        jpeg = io.BytesIO()
        Image.fromarray(levels[1, 0]).save(jpeg, "JPEG")
        decoded = np.asarray(Image.open(jpeg))[None, None]
        values = levels[2].astype(np.float32) / np.float32(255)
        async with AsyncClient(
            world.licenses[OWN].text,
            trust=world.gateway.ring.public_keys(),
            transport=httpx.ASGITransport(world.app),
            server="https://gateway.test",
        ) as client:
            answers = await client.predict([png(levels[0]), jpeg.getvalue(), values, Image.fromarray(levels[3, 0])])
        shown = np.concatenate([levels[:1], decoded, levels[2:4]])
        assert [answer.label for answer in answers] == await world.offline(OWN, shown)
        assert await used(world.admin, world.licenses[OWN]) == 4

    async def test_each_is_counted_to_the_license_whose_stamp_it_bears(
        self, world: World, levels: NDArray[np.uint8]
    ) -> None:
        sizes = {OWN: (3, 1), OWN_TOO: (2,), SHARED: (5, 4, 1), SHARED_TOO: (7,)}
        asked = [(who, size) for who, each in sizes.items() for size in each]
        answers = await asyncio.gather(*(world.ask(world.stamped(who, levels[:size])) for who, size in asked))
        for (who, size), answer in zip(asked, answers, strict=True):
            assert labels(answer) == await world.offline(who, levels[:size])
        counted = {name: await used(world.admin, issued) for name, issued in world.licenses.items()}
        assert counted == {OWN: 4, OWN_TOO: 2, SHARED: 10, SHARED_TOO: 7, KEY: 0}

    async def test_a_licensee_by_key_goes_on_being_answered_by_the_teacher(
        self, world: World, levels: NDArray[np.uint8]
    ) -> None:
        key = world.licenses[KEY].secret
        teacher = await world.gateway.engine.load(next(iter(world.gateway.book.versions.values())))
        raw = teacher.input_spec.from_grid(levels)
        expected = teacher.answer(raw, np.ones(len(raw), np.bool_)).argmax(axis=1)
        assert labels(await world.ask(levels, key)) == [str(label) for label in expected]
        assert world.gateway.student_cache.kept == ()


class TestSessions:
    async def test_an_image_with_the_stamp_buys_one_that_is_proved(self, world: World) -> None:
        for who in EVERYBODY:
            session = await world.open_session(who)
            said = claims(world.licenses[who], "A" * 43, session.json())
            assert said is not None
            assert (said["license"], said["version"]) == (world.licenses[who].id, 1)

    async def test_one_of_another_looks_the_same_and_proves_nothing(
        self, world: World, levels: NDArray[np.uint8]
    ) -> None:
        mine, caller = await world.open_session(OWN), Caller(world.app)
        wrong = world.stamped(OWN, levels[0])
        wrong.flat[world_cell(world)] ^= 255
        for image in (npy(levels[0]), npy(wrong), png(levels[1])):
            session = await show_stamp(caller, image)
            assert (session.status_code, len(session.content)) == (201, len(mine.content))
            assert sorted(session.headers) == sorted(mine.headers)
            assert claims(world.licenses[OWN], "A" * 43, session.json()) is None

    @once
    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            ([("stamped", b"\x93NUMPY"), ("stamped", b"\x93NUMPY")], "one image"),
            ([("stamped", b"\x93NUMPY"), ("fingerprint", b"\x93NUMPY")], "no fingerprint beside it"),
            ([("stamped", npy(np.zeros((2, 1, 28, 28), np.uint8)))], "2 images"),
            ([("stamped", npy(np.zeros((1, 29, 28), np.uint8)))], "shape"),
            ([("stamped", b"GIF89a")], "not a picture"),
        ],
    )
    async def test_what_is_no_stamped_image_is_named(
        self, parts: list[tuple[str, bytes]], said: str, world: World
    ) -> None:
        files = [(name, ("x", data)) for name, data in parts]
        answer = await Caller(world.app).http.post("/v1/models/digits/sessions", data={"nonce": "A" * 43}, files=files)
        assert answer.status_code in (415, 422)
        assert answer.json()["errors"][0]["field"] == "stamped"
        assert said in answer.json()["errors"][0]["message"]


class TestRefusals:
    """A stamp that is ours, whose license does not allow this now, is told so: at sessions and predictions."""

    @pytest.mark.parametrize(("act", "code"), [("suspend", "SUSPENDED"), ("revoke", "REVOKED")])
    async def test_by_its_issuer(self, act: str, code: str, world: World, levels: NDArray[np.uint8]) -> None:
        token = (await world.open_session(SHARED)).json()["token"]
        await world.admin.post(f"/v1/licenses/{world.licenses[SHARED].id}/{act}")
        stamped = world.stamped(SHARED, levels[:2])
        for answer in (await world.ask(stamped), await world.ask(stamped, token), await world.open_session(SHARED)):
            assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert labels(await world.ask(world.stamped(SHARED_TOO, levels))) == await world.offline(SHARED_TOO, levels)

    @once
    async def test_by_its_terms(self, world: World, levels: NDArray[np.uint8]) -> None:
        terms = {"quota": 3, "max_images_per_request": 2}
        issued = await issue(world.admin, "serial_number", student="shared", terms=terms)
        text = await file_of(world.admin, issued["id"])
        world.licenses["bounded"] = license_of(world, issued["id"], text)
        statuses = [
            (answer.status_code, answer.json().get("code"))
            for count in (3, 2, 2, 1, 1)
            for answer in [await world.ask(world.stamped("bounded", levels[:count]))]
        ]
        assert statuses == [
            (403, "TOO_MANY_IMAGES"),
            (200, None),
            (429, "QUOTA_EXCEEDED"),
            (200, None),
            (429, "QUOTA_EXCEEDED"),
        ]

    @once
    async def test_a_number_that_was_replaced_goes_on_for_the_overlap_and_then_says_so(
        self, world: World, clock: SetClock, levels: NDArray[np.uint8]
    ) -> None:
        license = world.licenses[SHARED]
        clock.advance(minutes=1)
        answer = await world.admin.post(f"/v1/licenses/{license.id}/reissue", json={"overlap_hours": 2})
        assert answer.status_code == 201, answer.text
        world.licenses["new"] = license_of(world, license.id, await file_of(world.admin, license.id))
        expected = await world.offline(SHARED, levels)
        for who in (SHARED, "new"):
            assert labels(await world.ask(world.stamped(who, levels))) == expected
        clock.advance(hours=3)
        late = await world.ask(world.stamped(SHARED, levels))
        assert (late.status_code, late.json()["code"]) == (403, "REVOKED")
        assert "replaced" in late.json()["title"]
        assert labels(await world.ask(world.stamped("new", levels))) == expected

    @once
    async def test_a_license_whose_student_is_not_there_yet_or_was_given_up(
        self, world: World, levels: NDArray[np.uint8]
    ) -> None:
        pending = await issue(world.admin, "serial_number", student="own")
        verdict = (await world.admin.get(f"/v1/licenses/{pending['id']}/verdict")).json()
        assert (pending["status"], verdict["code"]) == ("pending", "NOT_YET_VALID")
        expected = await world.offline(OWN, levels)
        assert labels(await world.ask(world.stamped(OWN, levels))) == expected
        cancelled = await world.admin.post(f"/v1/jobs/{pending['student']['job_id']}/cancel")
        assert cancelled.status_code == 200, cancelled.text
        verdict = (await world.admin.get(f"/v1/licenses/{pending['id']}/verdict")).json()
        assert verdict["code"] == "REVOKED"
        assert labels(await world.ask(world.stamped(OWN, levels))) == expected


class TestAnotherVersion:
    async def test_voids_no_number_and_is_not_for_it(
        self, world: World, levels: NDArray[np.uint8], artefact: Artefact
    ) -> None:
        offline = await world.offline(OWN, levels)
        token = (await world.open_session(OWN)).json()["token"]
        added = await world.admin.post("/v1/models", files=artefact_files(artefact))
        assert added.status_code == 201, added.text
        stamped = world.stamped(OWN, levels)
        for secret in (None, token):
            for version in (None, 1):
                answer = await world.ask(stamped, secret, version=version)
                assert (labels(answer), answer.json()["version"]) == (offline, 1)
            other = await world.ask(stamped, secret, version=2)
            assert (other.status_code, other.json()["code"]) == (403, "VERSION_SCOPE_MISMATCH")
        assert claims(world.licenses[OWN], "A" * 43, (await world.open_session(OWN)).json()) is not None
        verdict = (await world.admin.get(f"/v1/licenses/{world.licenses[OWN].id}/verdict")).json()
        assert verdict["code"] == "VALID"
        await world.admin.post("/v1/models/digits/versions/1/retire")
        retired = await world.ask(stamped)
        assert (retired.status_code, retired.json()["code"]) == (403, "VERSION_SCOPE_MISMATCH")
        assert (await world.ask(stamped, version=1)).status_code == 404

    @once
    @pytest.mark.parametrize("other", [{"mean": (0.2,), "std": (0.5,)}, {"value_range": (-1.0, 1.0)}])
    async def test_may_scale_its_inputs_in_another_way(
        self, other: dict[str, Any], world: World, levels: NDArray[np.uint8], artefact: Artefact
    ) -> None:
        offline, manifest = await world.offline(OWN, levels), artefact.manifest
        rescaled = Artefact.pack(
            manifest.name,
            manifest.network,
            manifest.network_config,
            replace(manifest.input_spec, **other),
            manifest.output_spec,
            artefact.weights,
            artefact.calibration,
            created_at=NOW,
        )
        added = await world.admin.post("/v1/models", files=artefact_files(rescaled))
        assert added.status_code == 201, added.text
        assert claims(world.licenses[OWN], "A" * 43, (await world.open_session(OWN)).json()) is not None
        for version in (None, 1):
            answer = await world.ask(world.stamped(OWN, levels), version=version)
            assert (labels(answer), answer.json()["version"]) == (offline, 1)

    @once
    async def test_may_have_students_of_its_own(
        self, world: World, levels: NDArray[np.uint8], artefact: Artefact, digits: data.Dataset, clock: SetClock
    ) -> None:
        taught = with_students(artefact, digits, epochs=3, seed=5)
        assert (await world.admin.post("/v1/models", files=artefact_files(taught))).status_code == 201
        issued = await issue(world.admin, "serial_number", student="shared")
        await do_jobs(world.settings, clock, world.admin)
        await world.gateway.sync.refresh()
        world.licenses["second"] = license_of(world, issued["id"], await file_of(world.admin, issued["id"]))
        assert world.licenses["second"].file.version == 2
        for who, version in (("second", 2), (OWN, 1), (SHARED, 1)):
            answer = await world.ask(world.stamped(who, levels))
            assert (labels(answer), answer.json()["version"]) == (await world.offline(who, levels), version)


def world_cell(world: World) -> int:
    """A pixel that the stamp sets."""
    file = world.licenses[OWN].file
    steps = np.frombuffer(file.credential.plan, "<i4")  # type: ignore[union-attr]
    return int(np.flatnonzero(steps < 0)[0])


def license_of(world: World, license_id: str, text: str) -> Issued:
    """A license as its customer holds it."""
    return Issued(license_id, text, license_file.decode(text, world.gateway.ring.public_keys()))


async def test_a_number_turns_up_in_no_log_answer_metric_or_row(
    world: World, logged: io.StringIO, levels: NDArray[np.uint8]
) -> None:
    secrets = {f"the number of {who}": packed(world.licenses[who]) for who in EVERYBODY}
    for who in EVERYBODY:
        secrets[f"the student's number of {who}"] = np.packbits((await world.student(who)).number.numpy()).tobytes()
    bad = world.stamped(OWN, levels)
    bad.flat[world_cell(world)] ^= 255
    answers = [await world.open_session(OWN), await world.ask(bad), await world.ask(bad[:, :, :27])]
    for who in EVERYBODY:
        answers.append(await world.ask(world.stamped(who, levels)))
        await world.admin.post(f"/v1/licenses/{world.licenses[who].id}/suspend")
        answers.append(await world.ask(world.stamped(who, levels)))
    for page in ("/v1/audit", "/metrics", "/v1/licenses", "/v1/jobs", "/v1/models"):
        answers.append(await world.admin.get(page))
    assert sorted({answer.status_code for answer in answers}) == [200, 201, 403, 422]
    plants.search(b"".join(answer.content + str(answer.headers).encode() for answer in answers), secrets, "an answer")
    plants.search(logged.getvalue().encode(), secrets, "the log")
    plants.search(repr(await rows_of(world.gateway)).encode("unicode_escape"), secrets, "the database")
    for path in world.settings.home.parent.rglob("*"):
        if path.is_file():
            plants.search(path.read_bytes(), secrets, path.name)


def packed(license: Issued) -> bytes:
    """The number in a license file, eight bits a byte."""
    steps = np.frombuffer(license.file.credential.plan, "<i4")  # type: ignore[union-attr]
    return np.packbits(steps[steps < 0] == -2).tobytes()
