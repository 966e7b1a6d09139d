"""A licensee's own program, sync and async, against a served gateway and one in process: what the README promises."""

import asyncio
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import signet_client
from fastapi import FastAPI
from PIL import Image
from signet_client import AsyncClient, Client

from models import data
from service.gateway import Gateway
from service.keyring import write_private
from tests.service.asking import on_sqlite, pixels, sample, used
from tests.service.conftest import Issue, Issued, SetClock
from tests.service.installed import owner_of
from tests.service.serving import Served

HTTPS = "https://gateway.test"


def client_for(app: FastAPI, gateway: Gateway, issued: Issued) -> AsyncClient:
    """The client as a licensee makes it, its bytes handed to a gateway in this process."""
    transport = httpx.ASGITransport(app)
    return AsyncClient(issued.text, trust=gateway.ring.public_keys(), transport=transport, server=HTTPS)


@pytest.mark.parametrize("kind", ["key", "fingerprint"])
class TestAsync:
    @on_sqlite
    async def test_pictures_in_every_form(
        self, kind: str, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset, tmp_path: Path
    ) -> None:
        picture = sample(digits)
        (tmp_path / "digit.png").write_bytes(picture)
        levels = pixels(picture)
        forms = [
            picture,
            tmp_path / "digit.png",
            str(tmp_path / "digit.png"),
            Image.fromarray(levels),
            levels,
            levels.astype(np.float32) / np.float32(255),
        ]
        async with client_for(app, gateway, await issue(kind)) as client:
            answers = await client.predict(forms)
            alone = await client.predict(picture)
        assert {(one.label, one.scores) for one in answers} == {(answers[0].label, answers[0].scores)}
        assert alone.label == answers[0].label == str(digits.test.labels[0])

    async def test_one_session_serves_many_tasks(
        self, kind: str, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(kind)
        async with client_for(app, gateway, issued) as client:
            answers = await asyncio.gather(*(client.predict(sample(digits, i)) for i in range(20)))
        right = [answer.label == str(digits.test.labels[i]) for i, answer in enumerate(answers)]
        assert sum(right) >= 18
        assert await used(admin, issued) == 20
        opened = gateway.metrics.verdicts.labels("digits", "session", "VALID")._value.get()
        assert opened == 1

    async def test_a_lapsed_session_is_renewed_once_and_nothing_is_charged_twice(
        self,
        kind: str,
        app: FastAPI,
        gateway: Gateway,
        admin: httpx.AsyncClient,
        issue: Issue,
        clock: SetClock,
        digits: data.Dataset,
    ) -> None:
        issued = await issue(kind)
        async with client_for(app, gateway, issued) as client:
            await client.predict(sample(digits))
            clock.advance(hours=2)  # the gateway's clock; the client's own has not moved
            assert (await client.predict(sample(digits))).label == str(digits.test.labels[0])
        assert await used(admin, issued) == 2

    @on_sqlite
    async def test_no_picture_leaves_for_a_gateway_that_does_not_know_the_license(
        self, kind: str, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(kind)
        gateway.book._credentials.clear()
        async with client_for(app, gateway, issued) as client:
            with pytest.raises(signet_client.SessionUnproved):
                await client.predict(sample(digits))
        version = gateway.book.models["digits"].versions[1]
        assert gateway.statistics.of(version.id).inferences == (1 if kind == "fingerprint" else 0)

    @on_sqlite
    async def test_a_bad_picture_among_good_ones_is_named_and_charges_nothing(
        self, kind: str, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(kind)
        async with client_for(app, gateway, issued) as client:
            with pytest.raises(signet_client.InvalidInput) as caught:
                await client.predict([sample(digits), np.zeros((5, 5), np.uint8)])
        assert caught.value.field == "images[1]"
        assert caught.value.request_id
        assert await used(admin, issued) == 0


def issued(served: Served, path: Path, kind: str) -> Path:
    """A license over 50 images."""
    signet = owner_of(served)
    customer = signet.json("customer", "add", "Acme")["id"]
    signet.said("license", "issue", customer, "digits", "-o", path, "--credential", kind, "--quota", "50")
    return path


class TestSync:
    """`Client("acme.lic")` over a socket."""

    @pytest.fixture
    def license(self, served: Served, tmp_path: Path) -> Path:
        return issued(served, tmp_path / "acme.lic", "fingerprint")

    @pytest.fixture
    def key_license(self, served: Served, tmp_path: Path) -> Path:
        return issued(served, tmp_path / "acme.lic", "key")

    def test_three_lines(self, served: Served, license: Path, digits: data.Dataset) -> None:
        with Client(license, trust=served.home / "issuer.pub") as client:
            assert client.predict(sample(digits)).label == str(digits.test.labels[0])
            assert client.license.server == served.url
            assert client.license.customer.name == "Acme"

    def test_threads_share_a_client_and_a_quota(self, served: Served, key_license: Path, digits: data.Dataset) -> None:
        answered, refused = [], []
        with Client(key_license, trust=served.home / "issuer.pub") as client:

            def work() -> None:
                for _ in range(10):
                    try:
                        answered.append(client.predict(sample(digits)).label)
                    except signet_client.QuotaExceeded as error:
                        refused.append(error.limit)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert (len(answered), len(refused)) == (50, 30)
        assert set(answered) == {str(digits.test.labels[0])}
        assert set(refused) == {50}

    def test_a_tampered_file_is_refused_before_anything_is_sent(
        self, served: Served, key_license: Path, digits: data.Dataset
    ) -> None:
        text = key_license.read_text()
        write_private(key_license, text[:300] + ("A" if text[300] != "A" else "B") + text[301:])
        with pytest.raises(signet_client.LicenseFileInvalid):
            Client(key_license, trust=served.home / "issuer.pub")

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_client_outlives_a_restart_of_its_gateway(
        self, served: Served, license: Path, digits: data.Dataset
    ) -> None:
        with Client(license, trust=served.home / "issuer.pub") as client:
            label = client.predict(sample(digits)).label
            served.stop()
            try:
                with pytest.raises(signet_client.GatewayUnavailable):
                    client.predict(sample(digits))
            finally:
                served.start()
            assert client.predict(sample(digits)).label == label
