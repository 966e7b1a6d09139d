"""The error tree as problem documents: every class with all its members, nothing internal, nothing of a bug."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from service import errors, problems
from service.settings import Settings
from tests.service import expect
from tests.service.standing import Standing

EXAMPLES: dict[type[errors.ServiceError], errors.ServiceError] = {
    type(error): error
    for error in (
        errors.ServiceError("a bug"),
        errors.InvalidInput("field", "message", errors.FieldError("other", "too")),
        errors.BodyTooLarge("body", "message"),
        errors.UnsupportedMedia("images[0]", "message"),
        errors.Unsupported("parameters.sequence_id", "message"),
        errors.NotFound("model", "message"),
        errors.BodyTooSlow("body", "message"),
        errors.Conflict("model", "message"),
        errors.CapacityExhausted("fingerprints.confidences", "message"),
        errors.AdminKeyInvalid(),
        errors.RoleMissing("message"),
        errors.SessionInvalid(),
        errors.Unlicensed(),
        errors.Refused(429, "Title", "slug", "CODE", "message", retry_after=3, limit=None),
        errors.TooManyRequests(7),
        errors.ModelUnloaded(),
        errors.Overloaded(),
        errors.DeadlinePassed(),
    )
}


def tree(base: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    """A class and all below it."""
    yield base
    for below in base.__subclasses__():
        yield from tree(below)


def test_the_drawing_of_the_tree_names_every_class_with_its_status() -> None:
    drawing = errors.__doc__ or ""
    for kind in tree(errors.ServiceError):
        assert kind.__name__ in drawing
        if kind not in (errors.ServiceError, errors.Refused):
            assert f"{kind.__name__}" in drawing.split(str(kind.status))[0] + drawing
    assert set(tree(errors.ServiceError)) == set(EXAMPLES)


@pytest.mark.parametrize("error", EXAMPLES.values(), ids=[kind.__name__ for kind in EXAMPLES])
def test_every_class_speaks_the_open_inference_protocol_too(error: errors.ServiceError) -> None:
    for path in ("/v2", "/v2/models/digits/infer"):
        response = problems.render(error, path, "req_1")
        document = json.loads(bytes(response.body))
        assert response.status_code == document["status"] == {422: 400, 409: 503}.get(error.status, error.status)
        assert response.media_type == "application/json"
        assert document["error"] == document["detail"]


@pytest.mark.parametrize("error", EXAMPLES.values(), ids=[kind.__name__ for kind in EXAMPLES])
def test_every_class_renders_with_all_members(error: errors.ServiceError) -> None:
    response = problems.render(error, "/v1/things", "req_1")
    document = json.loads(bytes(response.body))
    assert response.status_code == document["status"] == error.status
    assert response.media_type == "application/problem+json"
    assert document.keys() >= expect.MEMBERS
    assert document["type"] == f"/problems/{error.slug}"
    assert document["instance"] == "/v1/things"
    assert None not in document.values()
    if "retry_after" in document:
        assert response.headers["retry-after"] == str(document["retry_after"])
    if error.status == 401:
        assert response.headers["www-authenticate"] == "Bearer"


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text(), st.text(alphabet=st.characters(blacklist_categories=["Cs"])))
def test_any_text_can_be_said(field: str, message: str, path: str) -> None:
    error = errors.InvalidInput(field.encode("utf-8", "replace").decode(), message.encode("utf-8", "replace").decode())
    document = orjson.loads(bytes(problems.render(error, path, None).body))
    assert document["status"] == 422
    assert all(len(segment) <= 40 for segment in document["instance"].split("/"))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bug_is_told_as_such_and_nothing_of_it(
    standing: Standing, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("the secret ingredient is 42")

    monkeypatch.setattr("service.predictions.service.encode", broken)
    answer = await standing.stranger.post("/v1/models/digits/predict", json={"inputs": [[0.5] * 28] * 28})
    document = expect.problem(answer, 500, "INTERNAL")
    assert "secret" not in answer.text
    assert document["request_id"] in logged.getvalue()
    assert "the secret ingredient is 42" in logged.getvalue()


@pytest.mark.asyncio(loop_scope="module")
async def test_one_problem_names_every_field_that_is_wrong(standing: Standing) -> None:
    body = {"customer_id": "x", "model": "Ä", "credential": "smile", "terms": {"quota": 0, "expires_at": "soon"}}
    document = expect.problem(await standing.owner.post("/v1/licenses", json=body), 422, "INVALID_INPUT")
    named = [error["field"] for error in document["errors"]]
    assert named == ["customer_id", "model", "credential", "terms.expires_at", "terms.quota"]


def test_settings_hide_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNET_ADDRESS_BURST", "minus three")
    with pytest.raises(ValueError, match="address_burst") as caught:
        Settings()
    assert "minus three" not in str(caught.value)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unknown_field_is_named_unless_it_may_be_a_secret(standing: Standing) -> None:
    body = {"name": "Ada", "role": "auditor", "colour": 1}
    answer = await standing.owner.post("/v1/admin-keys", json=body)
    expect.problem(answer, 422, "INVALID_INPUT", "colour")
    secret = "sga_0123456789ab.hunter2"
    body = {"customer_id": "cus_" + "0" * 32, "model": "digits", "terms": {secret: 1}}
    answer = await standing.owner.post("/v1/licenses", json=body)
    expect.problem(answer, 422, "INVALID_INPUT", "terms")
    assert "hunter2" not in answer.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "manifest", [b'{"\\ud800":1}', b'{"name":"\\udfff"}', b'{"metrics":{"a":1' + b"0" * 400 + b"}}"]
)
async def test_text_that_is_not_unicode_is_bad_input(standing: Standing, manifest: bytes) -> None:
    files = {name: (name, manifest) for name in ("manifest", "weights", "calibration")}
    expect.problem(await standing.owner.post("/v1/models", files=files), 422, "INVALID_INPUT")
    for body in (
        b'{"name":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"name":"a","email":"\\ud800@b"}',
        b'{"name":"a","email":"a\\u0000@b"}',
    ):
        answer = await standing.owner.post("/v1/customers", content=body, headers={"Content-Type": "application/json"})
        expect.problem(answer, 422, "INVALID_INPUT")


def test_the_others_logs_have_the_same_form_and_no_secret(logged: io.StringIO) -> None:
    secret = "A1" * 30
    logging.getLogger("python_multipart").warning("request %s", secret)
    logging.getLogger("python_multipart").info("not this")
    structlog.get_logger().info("nested", things=[{"inside": secret}])
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["request [redacted]", "nested"]
    assert lines[0]["level"] == "warning"
    assert secret not in logged.getvalue()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_caller_that_hangs_up_is_no_bug(standing: Standing, logged: io.StringIO) -> None:
    arriving = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive() -> dict[str, object]:
        return arriving.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/models/digits/predict", "query_string": b""}
    headers = [(b"content-type", b"image/png")]
    await standing.app(scope | {"headers": headers, "client": ("127.0.0.1", 1)}, receive, send)  # type: ignore[arg-type]
    assert sent == []
    await asyncio.sleep(0)  # lines of one turn are written together
    assert '"status":499' in logged.getvalue()
    assert "unforeseen" not in logged.getvalue()
