"""Whom a client believes: keys it is given, else those the environment names, else those pinned; never the file's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signet_client.canonical import to_base64url
from signet_client.errors import NoTrustAnchor
from signet_client.trust import TrustAnchor, dump, parse, pin, pinned_file, resolve

from tests.client.conftest import KEY_ID


def other_anchor(key_id: str = "other") -> TrustAnchor:
    return {key_id: Ed25519PrivateKey.generate().public_key()}


class TestResolve:
    def test_a_path_its_text_its_document_and_a_mapping_all_do(self, trust: TrustAnchor, pub_file: Path) -> None:
        text = pub_file.read_text()
        encoded = {KEY_ID: to_base64url(trust[KEY_ID].public_bytes_raw())}
        for given in (pub_file, str(pub_file), text, json.loads(text), trust, encoded):
            assert resolve(given) == trust

    def test_given_goes_before_named_before_pinned(
        self, trust: TrustAnchor, pub_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named, pinned = other_anchor("named"), other_anchor("pinned")
        (tmp_path / "named.pub").write_bytes(dump(named))
        (tmp_path / "pinned.pub").write_bytes(dump(pinned))
        pin(tmp_path / "pinned.pub")
        assert resolve() == pinned
        monkeypatch.setenv("SIGNET_TRUST", str(tmp_path / "named.pub"))
        assert resolve() == named
        assert resolve(pub_file) == trust

    def test_without_any_it_says_what_to_do(self) -> None:
        with pytest.raises(NoTrustAnchor, match=r"ask the issuer.*pin.*SIGNET_TRUST"):
            resolve()

    def test_a_named_file_that_is_missing_is_an_error_and_not_skipped(
        self, pub_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pin(pub_file)
        monkeypatch.setenv("SIGNET_TRUST", "/nowhere/issuer.pub")
        with pytest.raises(NoTrustAnchor, match=r"/nowhere/issuer\.pub cannot be read"):
            resolve()

    @pytest.mark.parametrize("mapping", [{}, {"keys": []}, {"a": "AAAA"}, {"a": 7}, {"keys": "AAAA"}])
    def test_a_mapping_without_a_usable_key_is_refused(self, mapping: dict[str, object]) -> None:
        with pytest.raises(NoTrustAnchor, match="trust="):
            resolve(mapping)


class TestParse:
    def test_dump_and_parse_agree(self, trust: TrustAnchor) -> None:
        both = {**trust, **other_anchor()}
        assert parse(dump(both)) == both

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b'{"keys": {}}',
            b'{"keys": []}',
            b'{"keys": ["AAAA"]}',
            b'{"keys": [{"kid": 1, "public_key": "AAAA"}]}',
            b'{"keys": [{"kid": "a"}]}',
            b'{"keys": [{"kid": "a", "public_key": "AAAA"}]}',
            b'{"keys": [{"kid": "a", "public_key": null}]}',
            b"-----BEGIN PUBLIC KEY-----",
        ],
    )
    def test_anything_else_is_refused_and_its_source_named(self, data: bytes) -> None:
        with pytest.raises(NoTrustAnchor, match=r"^issuer\.pub"):
            parse(data, "issuer.pub")

    def test_one_key_id_for_two_keys_is_refused(self) -> None:
        entries = [json.loads(dump(other_anchor("same")))["keys"][0] for _ in range(2)]
        with pytest.raises(NoTrustAnchor, match="repeats"):
            parse(json.dumps({"keys": entries}).encode())


class TestPin:
    def test_it_lies_in_the_users_configuration(self, pub_file: Path, tmp_path: Path, trust: TrustAnchor) -> None:
        assert pin(pub_file) == tmp_path / "config" / "signet" / "trust.json"
        assert resolve() == trust
        assert os.listdir(tmp_path / "config" / "signet") == ["trust.json"]

    def test_a_second_issuer_joins_the_first(self, pub_file: Path, tmp_path: Path, trust: TrustAnchor) -> None:
        second = other_anchor()
        (tmp_path / "second.pub").write_bytes(dump(second))
        pin(pub_file)
        pin(tmp_path / "second.pub")
        assert resolve() == {**trust, **second}

    def test_a_pinned_key_is_not_quietly_exchanged(self, pub_file: Path, tmp_path: Path, trust: TrustAnchor) -> None:
        impostor = other_anchor(KEY_ID)
        (tmp_path / "impostor.pub").write_bytes(dump(impostor))
        pin(pub_file)
        with pytest.raises(NoTrustAnchor, match="pinned with another key"):
            pin(tmp_path / "impostor.pub")
        assert resolve() == trust
        pin(tmp_path / "impostor.pub", replace=True)
        assert resolve() == impostor

    def test_what_is_no_anchor_is_not_pinned(self, tmp_path: Path) -> None:
        (tmp_path / "broken.pub").write_text("{}")
        with pytest.raises(NoTrustAnchor):
            pin(tmp_path / "broken.pub")
        assert not pinned_file().exists()

    def test_a_relative_configuration_folder_is_ignored(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", "config")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert pinned_file() == tmp_path / ".config" / "signet" / "trust.json"
