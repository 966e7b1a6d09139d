"""A version that does not hold is refused with the field that is to blame; the one being served is not touched."""

import hashlib

import pytest

from service.admin_keys.tables import Role
from service.catalogue.artefacts import Artefact
from tests.service import expect
from tests.service.catalogue import uploads as made
from tests.service.catalogue.bad_versions import ROWS, Row
from tests.service.inputs import builders
from tests.service.standing import Standing, rows_of

PREDICT = "/v1/models/digits/predict"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
async def test_it_is_refused_and_the_served_version_answers_on(
    standing: Standing, artefact: Artefact, row: Row
) -> None:
    picture = {"images": ("a.png", builders.saved())}
    answer = await standing.stranger.post(PREDICT, files=picture)
    before = await rows_of(standing.gateway)
    refused = await standing.owner.post("/v1/models", files=row.make(artefact))
    expect.problem(refused, 422, "INVALID_INPUT", row.field)
    assert await rows_of(standing.gateway) == before
    assert (await standing.stranger.post(PREDICT, files=picture)).content == answer.content
    assert stored(standing) == ["1"]


def stored(standing: Standing) -> list[str]:
    """What stands in the model's folder."""
    return sorted(path.name for path in (standing.gateway.settings.home / "models" / "digits").iterdir())


FORMS = [
    pytest.param({"unauthorized_policy": "degrade"}, "unauthorized_policy", id="a policy that does not exist yet"),
    pytest.param({"revoked_policy": "laugh"}, "revoked_policy", id="a policy that does not exist"),
    pytest.param({"serve": "perhaps"}, "serve", id="neither yes nor no"),
]


@pytest.mark.parametrize(("form", "blamed"), FORMS)
async def test_a_form_field_that_is_not_right_is_named(
    standing: Standing, artefact: Artefact, form: dict[str, str], blamed: str
) -> None:
    before = await rows_of(standing.gateway)
    expect.problem(await made.upload(standing.owner, artefact, **form), 422, "INVALID_INPUT", blamed)
    assert await rows_of(standing.gateway) == before


BODIES = [
    pytest.param(b"\x00\x01", "multipart/form-data; boundary=b", id="a form that is none"),
    pytest.param(b"--b\r\n", "multipart/form-data", id="a form without a boundary"),
    pytest.param(
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", id="no name"
    ),
]


@pytest.mark.parametrize(("body", "media"), BODIES)
async def test_a_body_that_is_no_form_is_named_as_that(standing: Standing, body: bytes, media: str) -> None:
    refused = await standing.owner.post("/v1/models", content=body, headers={"Content-Type": media})
    expect.problem(refused, 422, "INVALID_INPUT", "body")


async def test_an_upload_over_the_limit_is_stopped(standing: Standing, artefact: Artefact) -> None:
    files = made.files(artefact, weights=bytes(8 * 2**20))
    expect.problem(await standing.owner.post("/v1/models", files=files), 413, "BODY_TOO_LARGE", "body")


@pytest.mark.parametrize("role", [Role.ISSUER, Role.AUDITOR])
async def test_who_may_not_add_a_version_may_not_send_one_either(
    standing: Standing, artefact: Artefact, role: Role
) -> None:
    async with standing.client(Authorization=f"Bearer {standing.keys[role]}") as client:
        expect.problem(await made.upload(client, artefact), 403, "ROLE_MISSING")
        files = made.files(artefact, weights=bytes(2 * 2**20))
        expect.problem(await client.post("/v1/models", files=files), 413, "BODY_TOO_LARGE", "body")


async def test_the_digest_of_a_version_is_that_of_its_files(standing: Standing, artefact: Artefact) -> None:
    listed = (await standing.owner.get("/v1/models/digits")).json()["versions"][0]
    assert listed["weights_sha256"] == hashlib.sha256(artefact.weights).hexdigest()
