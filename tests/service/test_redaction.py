"""No secret in a log, an error, an audit row, a metric or the database, wherever one may have been put."""

import io

import httpx
import pytest
from fastapi import FastAPI

from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.keys import Key
from service.redaction import blank, shown_path
from tests.service.conftest import Issue
from tests.service.inputs import builders
from tests.service.plants import PREDICT, WHOLE_FILES, as_text, everything_kept, places, search, secrets_of


async def test_nothing_that_was_handed_out_is_kept_or_said_again(
    app: FastAPI,
    gateway: Gateway,
    stranger: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    admin_key: str,
    issue: Issue,
    artefact: Artefact,
    logged: io.StringIO,
) -> None:
    key, fingerprint = await issue("key"), await issue("fingerprint")
    secrets = await secrets_of(stranger, gateway, admin_key, key, fingerprint)
    answers = [
        await client.request(**request)
        for name, secret in secrets.items()
        if name not in WHOLE_FILES
        for spelled in as_text(secret)
        for request in places(spelled, artefact)
        for client in (stranger, admin)
    ]
    for client in (stranger, admin):  # as a fingerprint, sent to where none is taken
        answers.append(await client.post("/v1/customers", files={"name": ("f.png", fingerprint.png)}))
        answers.append(await client.post(PREDICT, content=fingerprint.png[:-20], headers={"Content-Type": "image/png"}))
    assert {answer.status_code for answer in answers} <= {401, 404, 405, 415, 422}
    said = b"\n".join(answer.content + str(answer.headers.raw).encode() for answer in answers)
    search(said, secrets, "an answer")
    search(logged.getvalue().encode(), secrets, "the log")
    for where, kept in (await everything_kept(gateway, admin)).items():
        search(kept, secrets, where)


async def test_the_usual_way_of_things_logs_no_secret_either(
    gateway: Gateway,
    stranger: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    admin_key: str,
    issue: Issue,
    logged: io.StringIO,
) -> None:
    key, fingerprint = await issue("key"), await issue("fingerprint")
    secrets = await secrets_of(stranger, gateway, admin_key, key, fingerprint)
    bearer = {"Authorization": f"Bearer {secrets['the session token'].decode()}"}
    picture = {"images": ("a.png", builders.saved())}
    for headers in (key.bearer, bearer, {"X-API-Key": key.secret}):
        assert (await stranger.post(PREDICT, files=picture, headers=headers)).status_code == 200
    for act in ("suspend", "reinstate", "revoke"):
        await admin.post(f"/v1/licenses/{fingerprint.id}/{act}")
        await stranger.post(PREDICT, files=picture, headers=bearer)
    written = logged.getvalue()
    assert written.count("http.request") > 10
    search(written.encode(), secrets, "the log")
    assert builders.saved()[30:60] not in written.encode()
    for where, kept in (await everything_kept(gateway, admin)).items():
        search(kept, secrets, where)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/v1/models/digits/predict", "/v1/models/digits/predict"),
        (f"/v1/licenses/lic_{'0' * 32}/suspend", f"/v1/licenses/lic_{'0' * 32}/suspend"),
        ("/.well-known/signet-keys.json", "/.well-known/signet-keys.json"),
        ("//v1//", "//v1//"),
        pytest.param(f"/v1/customers/{Key.mint('sgn').text}", "/v1/customers/…", id="a key"),
        ("/v1/models/" + "a" * 41, "/v1/models/…"),
        ("/a\nb/<script>/é", "/…/…/…"),
        ("", ""),
    ],
)
def test_a_path_is_shown_without_what_is_not_ours(text: str, shown: str) -> None:
    assert shown_path(text) == shown


def test_runs_that_could_be_secrets_are_blanked() -> None:
    assert blank("weights.conv1.bias: has shape (6,), not (7,)") == "weights.conv1.bias: has shape (6,), not (7,)"
    assert blank("x" * 40) == "[redacted]"
    assert blank("a/b+c=" * 10, slashes=True) == "[redacted]"
    assert blank('File "/usr/lib/python3/site-packages/starlette/routing.py"').endswith('routing.py"')
