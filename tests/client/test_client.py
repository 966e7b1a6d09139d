"""A licensee and a gateway: a session is proved before an image leaves, and refusals come in plain words."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import signet_client
from PIL import Image
from signet_client import AsyncClient, Client, Prediction
from signet_client.canonical import from_base64url, to_base64url
from signet_client.conversation import Conversation
from signet_client.license_file import LicenseFile, encode
from signet_client.trust import TrustAnchor

from tests.client.conftest import ISSUER, KEY_ID
from tests.client.gateway import Gateway
from tests.client.test_images import JPEG, PNG

THREE = Prediction(index=3, label="three", scores=(0.0, 0.125, 0.25, 0.625))


def signed(license_file: LicenseFile) -> str:
    return encode(license_file, KEY_ID, ISSUER)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`ask(license, image, ..., trust=...)`: one client, its answers to one image after the other; in both flavours."""

    def blocking(license: Any, *images: Any, **settings: Any) -> Any:
        with Client(license, **settings) as client:
            return [client.predict(image) for image in images]

    async def waiting(license: Any, *images: Any, **settings: Any) -> Any:
        async with AsyncClient(license, **settings) as client:
            return [await client.predict(image) for image in images]

    if request.param == "sync":
        return blocking
    return lambda license, *images, **settings: asyncio.run(waiting(license, *images, **settings))


class TestPredict:
    def test_one_image_gets_one_answer_and_a_list_a_list(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        assert ask(license_path, PNG, [PNG, JPEG], [PNG], trust=trust) == [THREE, [THREE, THREE], [THREE]]
        assert len(gateway.seen_at("sessions")) == 1

    def test_what_is_sent_is_what_was_handed_in(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor, tmp_path: Path
    ) -> None:
        path = tmp_path / "jane-doe.png"
        path.write_bytes(PNG)
        array = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
        ask(license_path, [path, JPEG, Image.new("L", (4, 4)), array], trust=trust)
        (seen,) = gateway.seen_at("predict")
        parts = seen.parts()
        assert [part.name for part in parts] == ["images"] * 4
        assert [part.filename for part in parts] == ["0.png", "1.jpg", "2.png", "3.npy"]
        assert [part.media_type for part in parts] == ["image/png", "image/jpeg", "image/png", "application/x-npy"]
        assert [part.data for part in parts][:2] == [PNG, JPEG]
        assert b"jane" not in seen.body
        assert seen.headers["authorization"].removeprefix("Bearer ") in gateway.tokens

    def test_a_fingerprint_opens_a_session_with_a_fresh_nonce(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        ask(license_path, PNG, trust=trust)
        ask(license_path, PNG, trust=trust)
        assert all(gateway.knows(seen) for seen in gateway.seen_at("sessions")), "every image, in its order"
        parts = [{part.name: part for part in seen.parts()} for seen in gateway.seen_at("sessions")]
        nonces = {from_base64url(part["nonce"].data.decode()) for part in parts}
        assert [len(nonce) for nonce in nonces] == [32, 32]
        assert not any("authorization" in seen.headers for seen in gateway.seen_at("sessions"))

    def test_a_key_opens_one_as_bearer(
        self, ask: Callable[..., Any], gateway: Gateway, key_license: LicenseFile, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(key_license, server=gateway.license_file.server)
        assert ask(signed(gateway.license_file), PNG, trust=trust) == [THREE]
        (seen,) = gateway.seen_at("sessions")
        assert seen.headers["authorization"] == "Bearer sgn_abc.secretsecretsecret"
        assert list(json.loads(seen.body)) == ["nonce"]

    def test_a_serial_number_opens_one_with_a_blank_image_and_goes_into_every_image(
        self, ask: Callable[..., Any], gateway: Gateway, number_license: LicenseFile, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(number_license, server=gateway.license_file.server)
        array = np.full((28, 28), 100, np.uint8)
        ask(signed(gateway.license_file), [PNG, JPEG, Image.fromarray(array), array], trust=trust)
        (session,), (seen,) = gateway.seen_at("sessions"), gateway.seen_at("predict")
        assert [part.name for part in session.parts()] == ["nonce", "stamped"]
        assert seen.query == f"version={number_license.version}", "a number belongs to one version"
        sent = [np.load(io.BytesIO(part.data)) for part in seen.parts()]
        assert [part.media_type for part in seen.parts()] == ["application/x-npy"] * 4
        assert all(one.flat[:8].tolist() == [255, 0] * 4 for one in sent)
        assert np.array_equal(sent[0].flat[8:], np.arange(8, 784, dtype=np.uint8))
        assert set(sent[3].flat[8:].tolist()) == {100}
        assert np.array_equal(sent[2], sent[3])

    def test_an_image_that_cannot_bear_the_stamp_is_named_before_anything_is_sent(
        self, ask: Callable[..., Any], gateway: Gateway, number_license: LicenseFile, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(number_license, server=gateway.license_file.server)
        with pytest.raises(
            signet_client.InvalidInput, match="27x28 pixels; this license's stamp is for 28x28"
        ) as caught:
            ask(signed(gateway.license_file), [PNG, Image.new("L", (27, 28))], trust=trust)
        assert caught.value.field == "images[1]"
        assert gateway.seen == []

    def test_a_version_may_be_named_all_the_same(
        self, gateway: Gateway, number_license: LicenseFile, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(number_license, server=gateway.license_file.server)
        with Client(signed(gateway.license_file), trust=trust) as client:
            client.predict(PNG, version=5)
        assert gateway.seen_at("predict")[0].query == "version=5"

    def test_no_session_is_opened_for_an_image_that_cannot_be_sent(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        for unusable in (b"GIF89a", [], [PNG, None], np.zeros((4, 4))):
            with pytest.raises(signet_client.InvalidInput):
                ask(license_path, unusable, trust=trust)
        assert gateway.seen == []

    def test_a_path_in_the_servers_url_and_a_name_with_a_slash_are_kept(
        self, license_file: LicenseFile, trust: TrustAnchor
    ) -> None:
        seen: list[str] = []

        def record(request: httpx.Request) -> httpx.Response:
            seen.append(str(request.url))
            return httpx.Response(503)

        text = signed(replace(license_file, server="https://gateway.example/signet/", model="a/b?c"))
        client = Client(text, trust=trust, transport=httpx.MockTransport(record))
        with client, pytest.raises(signet_client.GatewayUnavailable):
            client.predict(PNG)
        assert seen == ["https://gateway.example/signet/v1/models/a%2Fb%3Fc/sessions"]


class TestUnprovedSessions:
    """Whoever answers, if it is not somebody who knows the receipt key: no label, and no image leaves."""

    def refused(self, ask: Callable[..., Any], gateway: Gateway, text: Any, trust: TrustAnchor, match: str) -> None:
        with pytest.raises(signet_client.SessionUnproved, match=match):
            ask(text, PNG, trust=trust)
        assert gateway.seen_at("predict") == []

    def test_a_stranger_learns_that_he_is_one(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        text = license_path.read_text()
        gateway.license_file = replace(
            gateway.license_file, credential=signet_client.license_file.KeyCredential("sgn_b")
        )
        self.refused(ask, gateway, text, trust, "does not open")

    def test_a_gateway_with_another_receipt_key_is_another_gateway(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(gateway.license_file, receipt_key=bytes(32))
        self.refused(ask, gateway, license_path, trust, "does not open")

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"receipt": to_base64url(bytes(284))}, "does not open"),
            ({"receipt": "short"}, "malformed"),
            ({"receipt": None}, "without a receipt"),
            ({"token": "another"}, "does not open"),
            ({"expires_at": "2099-01-01T00:00:00Z"}, "another session"),
        ],
    )
    def test_an_answer_changed_on_its_way_is_noticed(
        self,
        ask: Callable[..., Any],
        gateway: Gateway,
        license_path: Path,
        trust: TrustAnchor,
        changes: dict[str, Any],
        match: str,
    ) -> None:
        gateway.tamper = lambda answer: answer.update(changes)
        self.refused(ask, gateway, license_path, trust, match)

    def test_a_proved_answer_played_again_is_noticed(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        recorded: dict[str, Any] = {}
        gateway.tamper = recorded.update
        with Client(license_path, trust=trust) as client:
            client.predict(PNG)
        gateway.seen.clear()
        gateway.tamper = lambda answer: answer.update(recorded)
        self.refused(ask, gateway, license_path, trust, "does not open")

    def test_another_licenses_receipt_under_the_same_key_is_noticed(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.license_file = replace(gateway.license_file, license="lic_other")
        self.refused(ask, gateway, license_path, trust, "another session")

    @pytest.mark.parametrize("token", [None, "", "two\r\nlines", "ü", "\ud800"])
    def test_a_token_that_is_no_header_is_not_used(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor, token: Any
    ) -> None:
        gateway.tamper = lambda answer: answer.update(token=token)
        with pytest.raises((signet_client.GatewayUnavailable, signet_client.SessionUnproved)):
            ask(license_path, PNG, trust=trust)
        assert gateway.seen_at("predict") == []


class TestSessionLife:
    def test_a_session_is_renewed_before_it_ends(
        self, gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        now = 1000.0
        with Client(license_path, trust=trust) as client:
            client._conversation = Conversation(gateway.license_file, clock=lambda: now)
            for moment, opened in ((1000.0, 1), (1269.0, 1), (1271.0, 2), (1540.0, 2), (1542.0, 3)):
                now = moment
                client.predict(PNG)
                assert len(gateway.seen_at("sessions")) == opened

    def test_a_short_session_is_used_for_most_of_its_life(
        self, gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.lifetime, now = 10.0, 0.0
        with Client(license_path, trust=trust) as client:
            client._conversation = Conversation(gateway.license_file, clock=lambda: now)
            for moment, opened in ((0.0, 1), (8.9, 1), (9.1, 2)):
                now = moment
                client.predict(PNG)
                assert len(gateway.seen_at("sessions")) == opened

    def test_a_401_opens_another_session_once(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.refuse_next("predict", 401, "SESSION_INVALID")
        assert ask(license_path, PNG, trust=trust) == [THREE]
        assert len(gateway.seen_at("sessions")) == len(gateway.seen_at("predict")) == 2

    def test_a_second_401_is_an_error(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        for _ in range(2):
            gateway.refuse_next("predict", 401, "SESSION_INVALID", detail="The session is past its time.")
        with pytest.raises(signet_client.GatewayUnavailable, match="past its time"):
            ask(license_path, PNG, trust=trust)
        assert len(gateway.seen_at("sessions")) == len(gateway.seen_at("predict")) == 2

    def test_after_a_401_an_unproved_session_is_no_way_on(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        def revoked_meanwhile(answer: dict[str, Any]) -> None:
            if len(gateway.seen_at("sessions")) > 1:
                answer["receipt"] = to_base64url(bytes(284))

        gateway.tamper = revoked_meanwhile
        gateway.refuse_next("predict", 401, "SESSION_INVALID")
        with pytest.raises(signet_client.SessionUnproved):
            ask(license_path, PNG, trust=trust)
        assert len(gateway.seen_at("predict")) == 1

    def test_threads_share_one_session(self, gateway: Gateway, license_path: Path, trust: TrustAnchor) -> None:
        start = threading.Barrier(8)

        def predict(client: Client) -> Prediction:
            start.wait()
            return client.predict(PNG)

        with Client(license_path, trust=trust) as client, ThreadPoolExecutor(8) as pool:
            assert list(pool.map(predict, [client] * 8)) == [THREE] * 8
        assert len(gateway.seen_at("sessions")) == 1

    async def test_tasks_share_one_session_and_one_renewal(
        self, gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        async with AsyncClient(license_path, trust=trust) as client:
            assert await asyncio.gather(*(client.predict(PNG) for _ in range(16))) == [THREE] * 16
            assert len(gateway.seen_at("sessions")) == 1
            gateway.tokens.clear()  # a gateway that lost its key: every task gets a 401 at about the same time
            assert await asyncio.gather(*(client.predict(PNG) for _ in range(16))) == [THREE] * 16
        assert len(gateway.seen_at("sessions")) == 2


class TestRefusals:
    @pytest.mark.parametrize("route", ["sessions", "predict"])
    def test_an_expired_license_says_when(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor, route: str
    ) -> None:
        gateway.refuse_next(route, 403, "EXPIRED", on="2027-01-31T00:00:00Z", detail="The license ended.")
        with pytest.raises(signet_client.LicenseExpired, match="The license ended") as caught:
            ask(license_path, PNG, trust=trust)
        assert caught.value.on == date(2027, 1, 31)
        assert caught.value.request_id == "req_7"

    def test_the_gateways_clock_decides_not_the_clients(
        self, ask: Callable[..., Any], gateway: Gateway, trust: TrustAnchor
    ) -> None:
        long_ago = gateway.license_file.issued_at.replace(year=2001)
        gateway.license_file = replace(gateway.license_file, not_before=None, expires_at=long_ago)
        assert ask(signed(gateway.license_file), PNG, trust=trust) == [THREE]

    def test_a_rate_limit_is_raised_not_waited_out(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.refuse_next("predict", 429, "RATE_LIMITED", retry_after=3600)
        with pytest.raises(signet_client.RateLimited) as caught:
            ask(license_path, PNG, trust=trust)
        assert caught.value.retry_after == 3600
        assert len(gateway.seen_at("predict")) == 1

    def test_a_model_that_denies_strangers_says_not_licensed(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        gateway.refuse_next("sessions", 404, "NOT_FOUND")
        with pytest.raises(signet_client.NotLicensed):
            ask(license_path, PNG, trust=trust)

    def test_a_bad_image_is_named_by_its_index(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        complaint = {"field": "images[1]", "message": "is truncated"}
        gateway.refuse_next("predict", 422, "INVALID_INPUT", errors=[complaint])
        with pytest.raises(signet_client.InvalidInput) as caught:
            ask(license_path, [PNG, PNG[:50]], trust=trust)
        assert caught.value.field == "images[1]"


class TestAnswersThatAreNone:
    GOOD = {"index": 3, "label": "three", "scores": [0.0, 0.1, 0.2, 0.7]}  # noqa: RUF012 (not changed)

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"model": "digits", "predictions": []},
            {"model": "digits", "predictions": [GOOD, GOOD]},
            {"model": "letters", "predictions": [GOOD]},
            {"model": "digits", "predictions": {"0": GOOD}},
            {"model": "digits", "predictions": ["three"]},
            {"model": "digits", "predictions": [GOOD | {"index": 4}]},
            {"model": "digits", "predictions": [GOOD | {"index": -1}]},
            {"model": "digits", "predictions": [GOOD | {"index": True}]},
            {"model": "digits", "predictions": [GOOD | {"label": None}]},
            {"model": "digits", "predictions": [GOOD | {"scores": [0.0, 0.1, 0.2, "x"]}]},
            {"model": "digits", "predictions": [GOOD | {"scores": [0.0, 0.1, 0.2, 10**400]}]},
            {"model": "digits", "predictions": [GOOD | {"scores": None}]},
        ],
    )
    def test_an_answer_to_something_else_is_not_returned(
        self, gateway: Gateway, license_path: Path, trust: TrustAnchor, document: dict[str, Any]
    ) -> None:
        gateway.next_answers["predict"].append((200, document))
        with (
            Client(license_path, trust=trust) as client,
            pytest.raises(signet_client.GatewayUnavailable, match="answer"),
        ):
            client.predict(PNG)

    @pytest.mark.parametrize("answer", [(200, {}), (307, {}), (404, {"detail": "Not Found"}), (502, {}), (201, [])])
    def test_whatever_stands_at_the_sessions_url_is_no_session(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor, answer: Any
    ) -> None:
        gateway.next_answers["sessions"].append(answer)
        with pytest.raises(signet_client.GatewayUnavailable):
            ask(license_path, PNG, trust=trust)

    def test_nobody_there_is_said_with_the_servers_name(
        self, ask: Callable[..., Any], license_file: LicenseFile, trust: TrustAnchor
    ) -> None:
        with pytest.raises(
            signet_client.GatewayUnavailable, match=r"http://127\.0\.0\.1:9 did not answer: ConnectError"
        ):
            ask(signed(license_file), PNG, trust=trust, server="http://127.0.0.1:9")

    def test_a_timeout_is_no_answer(self, license_file: LicenseFile, trust: TrustAnchor) -> None:
        def slow(request: httpx.Request) -> httpx.Response:
            assert request.extensions["timeout"]["read"] == 0.25
            raise httpx.ReadTimeout("", request=request)

        client = Client(signed(license_file), trust=trust, timeout=0.25, transport=httpx.MockTransport(slow))
        with client, pytest.raises(signet_client.GatewayUnavailable, match="ReadTimeout"):
            client.predict(PNG)


class TestTheLicense:
    def test_comes_as_a_path_as_text_or_as_bytes(
        self, gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        for source in (license_path, str(license_path), license_path.read_text(), license_path.read_bytes()):
            with Client(source, trust=trust) as client:
                assert client.license.license == "lic_acme"
                assert client.license.customer.name == "Acme Bücher GmbH"

    def test_is_checked_before_anything_is_sent(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor
    ) -> None:
        text = license_path.read_text()
        with pytest.raises(signet_client.LicenseFileInvalid):
            ask(text.replace("\n\n", "\n\n "), PNG, trust=trust)
        with pytest.raises(signet_client.UntrustedIssuer):
            ask(text, PNG, trust={"another": ISSUER.public_key()})
        with pytest.raises(signet_client.NoTrustAnchor):
            ask(text, PNG)
        assert gateway.seen == []

    def test_is_believed_with_a_pinned_anchor(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, pub_file: Path
    ) -> None:
        signet_client.pin(pub_file)
        assert ask(license_path, PNG) == [THREE]

    @pytest.mark.parametrize(
        "server",
        [
            "http://gateway.example",
            "http://localhost.gateway.example",
            "http://127.0.0.1.gateway.example:8000",
            "http://10.0.0.7",
            "http://0.0.0.0:8000",
            "http://127.0.0.1@gateway.example",
            "http://gateway.example\\@127.0.0.1",
            "gateway.example",
            "ftp://127.0.0.1",
            "https://user:password@gateway.example",
            "https://gateway.example/?a=b",
            "https:///v1",
            "https://xn--/",
        ],
    )
    def test_is_told_to_no_server_that_could_be_overheard(
        self, ask: Callable[..., Any], license_file: LicenseFile, trust: TrustAnchor, server: str
    ) -> None:
        with pytest.raises(signet_client.InsecureServer):
            ask(signed(license_file), PNG, trust=trust, server=server)

    @pytest.mark.parametrize(
        "server", ["http://localhost:8000", "http://[::1]:8000", "http://127.8.9.1", "https://a.b"]
    )
    def test_may_be_told_to_loopback_and_over_tls(
        self, license_file: LicenseFile, trust: TrustAnchor, server: str
    ) -> None:
        Client(signed(license_file), trust=trust, server=server).close()

    def test_does_not_pass_through_a_proxy_on_its_way_to_loopback(
        self, ask: Callable[..., Any], gateway: Gateway, license_path: Path, trust: TrustAnchor, monkeypatch: Any
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask(license_path, PNG, trust=trust) == [THREE]


class TestSecrets:
    """None in a repr, a log or an exception with all it came from, in plain, base64 or hex."""

    @pytest.fixture
    def secrets(self, gateway: Gateway, key_license: LicenseFile, number_license: LicenseFile) -> list[str]:
        raw = [gateway.license_file.receipt_key, *gateway.license_file.credential.images]  # type: ignore[union-attr]
        raw.append(key_license.credential.key.encode())  # type: ignore[union-attr]
        raw.append(number_license.credential.plan[:32])  # type: ignore[union-attr]
        forms = [base64.b64encode, base64.urlsafe_b64encode, lambda data: data.hex().encode(), lambda data: data]
        # Less the ends, which depend on where base64 begins and on padding.
        return [form(data).decode("latin-1")[4:-6] for data in raw for form in forms]

    def shown_by(self, error: BaseException | None) -> str:
        shown = ""
        while error is not None:
            shown += "".join(traceback.format_exception(error)) + repr(vars(error))
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if "signet_client" in frame.f_code.co_filename:
                    kept = {
                        name: value for name, value in frame.f_locals.items() if name in ("self", "failure", "error")
                    }
                    shown += repr(kept)
            error = error.__context__
        return shown

    def test_are_in_nothing_that_is_shown(
        self,
        gateway: Gateway,
        key_license: LicenseFile,
        number_license: LicenseFile,
        trust: TrustAnchor,
        secrets: list[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        shown = ""
        server = gateway.license_file.server
        for license_file in (
            gateway.license_file,
            replace(key_license, server=server),
            replace(number_license, server=server),
        ):
            gateway.license_file = license_file
            client = Client(signed(license_file), trust=trust)
            with client:
                client.predict(PNG)
                shown += repr(client) + repr(client.license) + repr(client._conversation.live())
                shown += repr(client._conversation.opening())
                for status, code in ((403, "REVOKED"), (500, "INTERNAL"), (401, "SESSION_INVALID")):
                    gateway.refuse_next("predict", status, code)
                    gateway.refuse_next("predict", status, code)
                    with pytest.raises(signet_client.SignetError) as caught:
                        client.predict(PNG)
                    shown += self.shown_by(caught.value)
                    gateway.next_answers["predict"].clear()
            with pytest.raises(signet_client.GatewayUnavailable) as unavailable:
                Client(signed(license_file), trust=trust, server="http://127.0.0.1:9").predict(PNG)
            shown += self.shown_by(unavailable.value)
        shown += caplog.text
        assert "lic_acme" in shown
        for secret in [*secrets, *gateway.tokens]:
            assert secret not in shown

    def test_do_not_hang_on_an_error_by_the_request_of_the_http_library(
        self, license_file: LicenseFile, trust: TrustAnchor
    ) -> None:
        with pytest.raises(signet_client.GatewayUnavailable) as caught:
            Client(signed(license_file), trust=trust, server="http://127.0.0.1:9").predict(PNG)
        assert caught.value.__context__ is None
