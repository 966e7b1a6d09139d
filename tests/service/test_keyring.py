"""The key ring: purposes kept apart, rotation that voids nothing, files that nobody else can read."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.clock import system_clock
from service.gateway import Gateway
from service.keyring import KeyRing, KeyRingError, open_ring, public_key_document, write_private
from service.sessions.tokens import TokenSealer
from tests.service import expect
from tests.service.conftest import Issue, SetClock, client_of
from tests.service.inputs import builders

NONCE = "A" * 43


class TestDeriving:
    @settings(max_examples=100, deadline=None)
    @given(
        *[
            st.tuples(
                st.sampled_from(["pepper", "session", "receipt", "decoy"]), st.lists(st.binary(max_size=6), max_size=3)
            )
        ]
        * 2
    )
    def test_two_purposes_never_share_a_key(self, one: Any, other: Any) -> None:
        ring = RING
        derived = [ring.derive(purpose, *context) for purpose, context in (one, other)]
        assert (derived[0] == derived[1]) == (one == other)
        assert all(len(key) == 32 for key in derived)

    def test_every_root_derives_its_own(self) -> None:
        rotated = RING.rotated()
        assert rotated.derive("receipt") != RING.derive("receipt")
        assert rotated.derive("receipt", root=RING.active_root) == RING.derive("receipt")
        assert rotated.oldest_root == RING.oldest_root == RING.active_root
        assert rotated.rotated().oldest_root == RING.active_root

    def test_no_root_shows_in_what_it_derives_or_in_its_representation(self) -> None:
        root = RING.roots[RING.active_root]
        assert root not in (RING.derive("pepper"), RING.derive("session"))
        for shown in (repr(RING), str(public_key_document(RING.public_keys()))):
            assert root.hex() not in shown
            assert repr(root) not in shown
            assert RING.issuer.private_bytes_raw().hex() not in shown


RING = KeyRing.generate()


class TestItsFile:
    def test_it_comes_back_as_it_was(self) -> None:
        ring = RING.rotated()
        again = KeyRing.from_json(ring.to_json())
        assert again.roots == ring.roots
        assert (again.active_root, again.active_issuer) == (ring.active_root, ring.active_issuer)
        assert again.oldest_root == ring.oldest_root
        assert public_key_document(again.public_keys()) == public_key_document(ring.public_keys())

    def test_it_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            path = tmp_path / "home" / "keys" / "ring.json"
            open_ring(path, create=True)
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert path.parent.parent.stat().st_mode & 0o777 == 0o700
            assert [file.name for file in path.parent.iterdir()] == ["ring.json"]
        finally:
            os.umask(before)

    def test_it_is_made_once(self, tmp_path: Path) -> None:
        path = tmp_path / "ring.json"
        first = open_ring(path, create=True)
        assert open_ring(path, create=True).roots == first.roots

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o601])
    def test_one_that_others_may_touch_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "ring.json"
        open_ring(path, create=True)
        path.chmod(mode)
        with pytest.raises(KeyRingError, match="chmod 600"):
            open_ring(path, create=False)

    def test_one_that_is_missing_or_rubbish_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(KeyRingError, match="cannot read"):
            open_ring(tmp_path / "none.json", create=False)
        for rubbish in (b"", b"{}", b"\xff\xfe", b"[" * 10**5):
            path = tmp_path / "ring.json"
            write_private(path, "")
            path.write_bytes(rubbish)
            with pytest.raises(KeyRingError):
                open_ring(path, create=False)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_any_change_gives_a_ring_or_an_error_without_secrets(self, data: st.DataObject) -> None:
        document = json.loads(RING.to_json())
        value = data.draw(
            st.one_of(
                st.none(),
                st.integers(),
                st.text(),
                st.lists(st.text(), max_size=2),
                st.dictionaries(st.text(), st.text(), max_size=2),
            )
        )
        name = data.draw(st.sampled_from([*document, "roots.x", "issuers.x"]))
        if "." in name:
            document[name.partition(".")[0]]["x"] = value
        else:
            document[name] = value
        try:
            ring = KeyRing.from_json(json.dumps(document))
        except KeyRingError as error:
            refused = str(error)
        else:
            TokenSealer(ring)
            ring.derive("session")
            return
        assert not any(secret in refused for secret in json.loads(RING.to_json())["roots"].values())

    def test_a_secret_is_replaced_in_one_step(self, tmp_path: Path) -> None:
        path = tmp_path / "owner.key"
        write_private(path, "old")
        path.chmod(0o644)
        write_private(path, "new")
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_first_start_that_comes_second_uses_the_ring_of_the_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "ring.json"
        late = KeyRing.generate()

        def meanwhile() -> KeyRing:
            write_private(path, RING.to_json())
            return late

        monkeypatch.setattr(KeyRing, "generate", meanwhile)
        assert open_ring(path, create=True).roots == RING.roots
        assert [file.name for file in tmp_path.iterdir()] == ["ring.json"]

    def test_a_secret_that_cannot_be_written_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_private(tmp_path / "owner.key", "new")
        assert not list(tmp_path.iterdir())


DRIFT = "signet_fingerprint_drift_total"


class TestRotation:
    async def test_tokens_keys_fingerprints_and_decoys_outlive_it(
        self, app: FastAPI, gateway: Gateway, stranger: httpx.AsyncClient, issue: Issue, clock: SetClock
    ) -> None:
        key, fingerprint = await issue("key"), await issue("fingerprint")
        form = {"nonce": (None, NONCE), "fingerprint": ("f.png", fingerprint.png)}
        token = (await stranger.post("/v1/models/digits/sessions", files=form)).json()["token"]
        picture = {"images": ("a.png", builders.saved())}
        truth = (await stranger.post("/v1/models/digits/predict", files=picture, headers=key.bearer)).json()
        decoy = (await stranger.post("/v1/models/digits/predict", files=picture)).json()
        write_private(gateway.settings.home / "keys" / "ring.json", gateway.ring.rotated().to_json())
        again = create_app(gateway.settings, clock=clock)
        async with again.router.lifespan_context(again), client_of(again) as client:
            opened = (await client.post("/v1/models/digits/sessions", files=form)).json()["token"]
            assert opened[:5] != token[:5]  # sealed under the new root
            for shown in (key.bearer, {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {opened}"}):
                answer = await client.post("/v1/models/digits/predict", files=picture, headers=shown)
                assert answer.json() == truth
            assert (await client.post("/v1/models/digits/predict", files=picture)).json() == decoy
            published = (await client.get("/.well-known/signet-keys.json")).json()["keys"]
            assert len(published) == 2
            drift = again.state.gateway.metrics.registry.get_sample_value(DRIFT, {"model": "digits"})
            assert not drift, "a codeword hangs on the root that its license was issued under"

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_a_token_of_a_ring_that_is_gone_opens_nothing(
        self, app: FastAPI, stranger: httpx.AsyncClient, model: str
    ) -> None:
        foreign = TokenSealer(KeyRing.generate()).seal(bytes(16), 1, "mdl_x", system_clock())
        answer = await stranger.post(
            "/v1/models/digits/predict", headers={"Authorization": f"Bearer {foreign}"}, content=b""
        )
        expect.problem(answer, 401, "SESSION_INVALID", "headers.authorization")
