"""Default deny: every path and method, spelled every way, needs a live admin key unless it is on the public list."""

import io
import itertools
import re
from typing import Any

import httpx
import pytest

from service.addresses import throttled_as
from service.admin_keys.tables import Role
from service.app import create_app
from service.middleware import DOCS, PUBLIC
from tests.service import expect
from tests.service.conftest import SetClock, client_of
from tests.service.doors import ADMIN, ALLOWED, ID, INVENTED, METHODS, OPEN, ask, filled, is_open, routes, spellings
from tests.service.standing import Standing

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_route_is_on_one_of_the_two_lists(standing: Standing) -> None:
    documentation = {("GET", "/docs"), ("GET", "/docs/oauth2-redirect")}
    assert routes(standing.app) == set(ADMIN) | OPEN | documentation
    assert len(PUBLIC) == 7
    assert DOCS.fullmatch("GET /docs")
    assert not DOCS.fullmatch("GET /docs/oauth2-redirect")
    assert not DOCS.fullmatch("GET /docs/assets/../../v1/licenses")


async def test_without_a_key_everything_else_is_401_however_it_is_spelled(standing: Standing) -> None:
    paths = (
        {spelled for _, template in set(ADMIN) | OPEN for spelled in spellings(filled(template))}
        | set(INVENTED)
        | {"/docs/oauth2-redirect"}
    )
    assert len(paths) > 300
    asked = 0
    for path, method in itertools.product(sorted(paths), METHODS):
        answer = await ask(standing.stranger, method, path)
        if is_open(method, path):
            assert answer.status_code in (200, 400, 404, 415), (method, path)
        else:
            assert answer.status_code == 401, (method, path, answer.status_code)
            if method != "HEAD":
                expect.problem(answer, 401, "ADMIN_KEY_REQUIRED", "headers.authorization")
            asked += 1
    assert asked > 3000


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_reaches_what_it_may_and_nothing_else(standing: Standing, role: Role) -> None:
    async with standing.client(Authorization=f"Bearer {standing.keys[role]}") as client:
        for (method, template), needed in ADMIN.items():
            answer = await ask(client, method, filled(template))
            if needed in ALLOWED[role]:
                assert answer.status_code in (200, 404, 422), (method, template, answer.text)
            elif template in ("/v1/models", "/v1/customers", "/v1/licenses", "/v1/admin-keys") and method == "POST":
                assert answer.status_code in (403, 422), (method, template)  # the body is looked at with the role
            else:
                expect.problem(answer, 403, "ROLE_MISSING")
        for path in INVENTED:
            assert (await ask(client, "GET", path)).status_code == 404, path
        unknown = await ask(client, "GET", "/v1/nothing")
        expect.problem(unknown, 404, "UNKNOWN_RESOURCE", "path")
        wrong = await ask(client, "DELETE", "/v1/customers")
        expect.problem(wrong, 405, "HTTP_405", "method")


async def test_a_role_is_asked_for_before_a_body_is_believed(standing: Standing) -> None:
    async with standing.client(Authorization=f"Bearer {standing.keys[Role.AUDITOR]}") as auditor:
        expect.problem(await auditor.post("/v1/customers", json={"name": "Eve"}), 403, "ROLE_MISSING")
        body = {"name": "Eve", "role": "owner"}
        expect.problem(await auditor.post("/v1/admin-keys", json=body), 403, "ROLE_MISSING")
        expect.problem(await auditor.post(f"/v1/licenses/lic_{ID}/revoke"), 403, "ROLE_MISSING")


async def test_a_license_key_and_a_token_open_no_admin_route(standing: Standing) -> None:
    token = (await standing.licensee.post("/v1/models/digits/sessions", json={"nonce": "A" * 43})).json()["token"]
    for secret in (standing.key, token):
        async with standing.client(Authorization=f"Bearer {secret}") as client:
            for method, template in ADMIN:
                assert (await ask(client, method, filled(template))).status_code == 401


async def test_head_is_answered_where_get_is_public(standing: Standing) -> None:
    for path in ("/v1/health/live", "/v1/health/ready"):
        answer = await standing.stranger.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_production_hides_the_docs(standing: Standing) -> None:
    assert (await standing.stranger.get("/docs")).status_code == 200
    assert (await standing.stranger.get("/openapi.json")).status_code == 200
    hidden = standing.gateway.settings.model_copy(update={"environment": "production"})
    app = create_app(hidden, clock=standing.clock)
    async with app.router.lifespan_context(app), client_of(app) as stranger:
        for path in ("/docs", "/openapi.json", "/redoc"):
            expect.problem(await stranger.get(path), 401, "ADMIN_KEY_REQUIRED", "headers.authorization")
        async with client_of(app, Authorization=f"Bearer {standing.keys[Role.OWNER]}") as owner:
            for path in ("/docs", "/openapi.json"):
                assert (await owner.get(path)).status_code == 404


async def test_the_address_limit_comes_before_everything_and_says_when_to_return(standing: Standing) -> None:
    narrow = standing.gateway.settings.model_copy(update={"address_rate_per_s": 0.5, "address_burst": 3})
    clock = SetClock()
    app = create_app(narrow, clock=clock)
    async with app.router.lifespan_context(app):
        keys = [None, standing.key, standing.keys[Role.OWNER], "garbage"]
        async with client_of(app) as client:
            for _ in range(3):
                assert (await client.get("/v1/health/live")).status_code == 200
            answers = []
            for key, (method, path) in itertools.product(
                keys,
                [
                    ("GET", "/v1/health/live"),
                    ("GET", "/v1/customers"),
                    ("POST", "/v1/models/digits/predict"),
                    ("GET", "/nothing"),
                ],
            ):
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                answers.append(await client.request(method, path, headers=headers))
            for answer in answers:
                document = expect.problem(answer, 429, "ADDRESS_LIMITED", "client.address")
                assert answer.headers["retry-after"] == str(document["retry_after"]) == "2"
            clock.advance(seconds=2)
            assert (await client.get("/v1/health/live")).status_code == 200
            assert (await client.get("/v1/health/live")).status_code == 429
        # Another address is not held up.
        other = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=other, base_url="http://gateway.test") as client:
            assert (await client.get("/v1/health/live")).status_code == 200


class TestRequestIds:
    @pytest.mark.parametrize("given", ["ticket-4711", "A" * 36, "5f0c1b2e-1111-4222-8333-944455556666"])
    async def test_a_plain_one_is_kept(self, standing: Standing, given: str) -> None:
        answer = await standing.stranger.get("/v1/health/live", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given

    @pytest.mark.parametrize(
        "given", ["", "short", "A" * 37, "a b c d e f", "x" * 1000, "<script>1</script>", "é" * 10]
    )
    async def test_any_other_is_replaced(self, standing: Standing, given: str) -> None:
        request = standing.stranger.build_request("GET", "/v1/health/live", headers={"X-Request-Id": given.encode()})
        answer = await standing.stranger.send(request)
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])


class TestTheGuard:
    async def test_no_websocket_gets_past_it(self, standing: Standing) -> None:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/models/digits/predict", "headers": [], "query_string": b""}
        await standing.app(scope, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1008}]

    async def test_what_carries_secrets_is_not_kept_by_anybody(self, standing: Standing) -> None:
        for answer in (
            await standing.licensee.post("/v1/models/digits/sessions", json={"nonce": "A" * 43}),
            await standing.owner.post("/v1/admin-keys", json={"name": "Ada", "role": "auditor"}),
            await standing.stranger.get("/v1/customers"),
        ):
            assert answer.headers["cache-control"] == "no-store"

    async def test_a_caller_who_leaves_in_the_middle_of_his_body_is_no_bug(
        self, standing: Standing, logged: io.StringIO
    ) -> None:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        for path in ("/v1/models/digits/predict", "/v1/models/digits/sessions"):
            headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
            await standing.app(scope | {"raw_path": path.encode(), "client": ("127.0.0.1", 1)}, receive, send)
        assert "Traceback" not in logged.getvalue()
        assert "unforeseen" not in logged.getvalue()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("a-unix-socket", "a-unix-socket"),
    ],
)
async def test_a_throttle_counts_ipv6_by_network(address: str, key: str) -> None:
    assert throttled_as(address) == key
