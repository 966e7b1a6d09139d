"""The license file has one spelling, one issuer to believe, and keeps its secrets."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signet_client.errors import LicenseFileInvalid, UntrustedIssuer
from signet_client.license_file import (
    SIZE_LIMIT,
    Customer,
    FingerprintCredential,
    KeyCredential,
    LicenseFile,
    SerialNumberCredential,
    decode,
    encode,
)
from signet_client.trust import TrustAnchor

from tests.client.conftest import ISSUER, KEY_ID

FINGERPRINT = {"kind": "fingerprint", "code": "codeword", "images": ["AA"]}


def plan(*steps: int) -> str:
    """Numbers as int32, little-endian, in base64url."""
    data = b"".join(step.to_bytes(4, "little", signed=True) for step in steps)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


NUMBER: dict[str, Any] = {
    "kind": "serial_number",
    "shape": [1, 2, 2],
    "mode": "L",
    "value_range": ["-1.0", "1.0"],
    "plan": plan(0, -1, -2, -6),
}
TRUST: TrustAnchor = {KEY_ID: ISSUER.public_key()}
REFUSALS = (LicenseFileInvalid, UntrustedIssuer)
same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

PAYLOAD: dict[str, Any] = {
    "format": 1,
    "license": "lic_acme",
    "issued_at": "2026-03-01T09:30:00Z",
    "customer": {"id": "cus_acme", "name": "Acme"},
    "model": "digits",
    "version": 3,
    "not_before": None,
    "expires_at": "2027-01-31T00:00:00Z",
    "entitlements": {"operations": ["predict"], "quota": 1000},
    "receipt_key": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="),
    "generation": 0,
    "credential": {"kind": "key", "key": "sgn_abc.secret"},
    "server": "https://gateway.example",
}


def canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(payload: bytes, key_id: str = KEY_ID, header: str = "Version: 1", line: int = 64, end: str = "\n") -> str:
    """A file written by the format's description, apart from the code under test, with the issuer's own signature."""
    signature = ISSUER.sign(b"signet-license/1\n" + key_id.encode() + b"\n" + payload)
    body = base64.b64encode(signature + payload).decode()
    lines = [body[at : at + line] for at in range(0, len(body), line)]
    frame = [
        "-----BEGIN SIGNET LICENSE-----",
        header,
        f"Key-Id: {key_id}",
        "",
        *lines,
        "-----END SIGNET LICENSE-----",
        "",
    ]
    return end.join(frame)


moments = st.datetimes(
    min_value=datetime(1970, 1, 1),
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
license_files = st.builds(
    LicenseFile,
    license=st.from_regex(r"lic_[A-Za-z0-9]{1,20}", fullmatch=True),
    issued_at=moments,
    customer=st.builds(
        Customer,
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        st.text(st.characters(codec="utf-8"), max_size=20),
    ),
    model=st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    version=st.integers(1, 2**53 - 1),
    not_before=st.none() | moments,
    expires_at=st.none() | moments,
    entitlements=st.dictionaries(st.text(st.characters(codec="utf-8")), plain, max_size=3).filter(
        lambda d: depth(d) < 8
    ),
    receipt_key=st.binary(min_size=32, max_size=32),
    generation=st.integers(0, 2**53 - 1),
    credential=st.builds(
        FingerprintCredential,
        st.sampled_from(["codeword", "confidence"]),
        st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3).map(tuple),
    )
    | st.builds(
        SerialNumberCredential,
        st.just((3, 1, 5)),
        st.sampled_from(["RGB", "tensor"]),
        st.tuples(st.floats(-1e20, 0.0), st.floats(1e-6, 1e20)),
        st.lists(st.integers(-7, 4), min_size=5, max_size=5).map(
            lambda steps: b"".join(step.to_bytes(4, "little", signed=True) for step in steps)
        ),
    )
    | st.builds(KeyCredential, st.from_regex(r"sgn_[a-z0-9]{1,9}\.[A-Za-z0-9_-]{1,40}", fullmatch=True)),
    server=st.sampled_from(["https://gateway.example", "http://127.0.0.1:8000/", "https://[::1]:8443/signet"]),
)


def depth(value: object) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, items), default=0)


class TestEncode:
    @given(license_files)
    @settings(deadline=None)
    def test_what_is_written_is_read_back(self, license_file: LicenseFile) -> None:
        text = encode(license_file, KEY_ID, ISSUER)
        assert decode(text, TRUST) == decode(text.encode(), TRUST) == license_file

    @pytest.mark.parametrize("credential", [PAYLOAD["credential"], FINGERPRINT, NUMBER], ids=lambda one: one["kind"])
    def test_the_text_is_the_one_the_format_describes(self, credential: dict[str, Any]) -> None:
        text = signed(canonical(PAYLOAD | {"credential": credential}))
        assert encode(decode(text, TRUST), KEY_ID, ISSUER) == text

    def test_the_largest_stamp_fits(self, license_file: LicenseFile) -> None:
        pixels = 512 * 1024
        steps = b"".join(step.to_bytes(4, "little") for step in range(pixels))
        largest = SerialNumberCredential((1, 512, 1024), "L", (0.0, 1.0), steps)
        text = encode(replace(license_file, credential=largest), KEY_ID, ISSUER)
        assert decode(text, TRUST).credential == largest

    def test_a_time_in_another_zone_is_written_in_utc(self, license_file: LicenseFile) -> None:
        there = license_file.issued_at.astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert encode(replace(license_file, issued_at=there), KEY_ID, ISSUER) == encode(license_file, KEY_ID, ISSUER)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("issued_at", datetime(2026, 3, 1)),
            ("expires_at", datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)),
            ("receipt_key", b"short"),
            ("license", "acme"),
            ("model", "two words"),
            ("version", 0),
            ("entitlements", {"ratio": 0.5}),
            ("entitlements", {"quota": 2**53}),
            ("entitlements", {1: "a number for a name"}),
            ("entitlements", {"operations": ("predict",)}),
            ("server", "gateway.example"),
        ],
    )
    def test_a_mistake_is_the_issuers_error_not_the_customers(
        self, license_file: LicenseFile, field: str, value: object
    ) -> None:
        with pytest.raises(LicenseFileInvalid) as caught:
            encode(replace(license_file, **{field: value}), KEY_ID, ISSUER)  # type: ignore[arg-type]
        assert caught.value.field == field

    @pytest.mark.parametrize("key_id", ["", "two words", "line\nend", "x" * 129, "schlüssel"])
    def test_a_key_id_that_would_not_survive_the_header_is_refused(
        self, license_file: LicenseFile, key_id: str
    ) -> None:
        with pytest.raises(LicenseFileInvalid, match="Key-Id"):
            encode(license_file, key_id, ISSUER)

    def test_a_license_too_large_to_be_read_is_not_written(self, license_file: LicenseFile) -> None:
        with pytest.raises(LicenseFileInvalid, match="larger"):
            encode(
                replace(license_file, credential=FingerprintCredential("codeword", (bytes(1 << 22),))), KEY_ID, ISSUER
            )

    def test_text_that_is_not_unicode_is_refused(self, license_file: LicenseFile) -> None:
        with pytest.raises(LicenseFileInvalid, match="Unicode"):
            encode(replace(license_file, customer=Customer("cus_acme", "\ud800")), KEY_ID, ISSUER)


class TestDecodeRefusesAlteredFiles:
    def test_every_changed_bit(self, license_file: LicenseFile) -> None:
        text = encode(license_file, KEY_ID, ISSUER).encode()
        for at in range(len(text)):
            for bit in range(8):
                altered = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
                with pytest.raises(REFUSALS):
                    decode(altered, TRUST)

    @pytest.mark.parametrize("added", [b" ", b"\n", b"\t", b"\r", b"=", b"\0", b"\xef\xbb\xbf"])
    def test_every_added_white_space(self, license_file: LicenseFile, added: bytes) -> None:
        text = encode(license_file, KEY_ID, ISSUER).encode()
        for at in range(len(text) + 1):
            with pytest.raises(REFUSALS):
                decode(text[:at] + added + text[at:], TRUST)

    def test_every_missing_byte_and_every_truncation(self, license_file: LicenseFile) -> None:
        text = encode(license_file, KEY_ID, ISSUER).encode()
        for at in range(len(text)):
            for altered in (text[:at] + text[at + 1 :], text[:at]):
                if altered != text:
                    with pytest.raises(REFUSALS):
                        decode(altered, TRUST)

    @given(at=st.integers(0, 5000), cut=st.integers(0, 80), put=st.binary(max_size=80))
    @same_fixture
    def test_any_splice(self, license_file: LicenseFile, at: int, cut: int, put: bytes) -> None:
        text = encode(license_file, KEY_ID, ISSUER).encode()
        at %= len(text)
        altered = text[:at] + put + text[at + cut :]
        if altered != text:
            with pytest.raises(REFUSALS):
                decode(altered, TRUST)

    @given(st.binary(max_size=2000) | st.text(max_size=500))
    def test_anything_at_all_is_refused_by_a_typed_error(self, anything: bytes | str) -> None:
        with pytest.raises(REFUSALS):
            decode(anything, TRUST)


class TestDecodeRefusesOtherSpellings:
    """Signed by the issuer's own key, so that only the spelling is at fault."""

    def test_the_helper_signs_what_decode_accepts(self) -> None:
        assert decode(signed(canonical(PAYLOAD)), TRUST).license == "lic_acme"

    @pytest.mark.parametrize(
        "payload",
        [
            json.dumps(PAYLOAD, separators=(",", ":")).encode(),
            json.dumps(PAYLOAD, sort_keys=True).encode(),
            canonical(PAYLOAD) + b"\n",
            b" " + canonical(PAYLOAD),
            canonical(PAYLOAD).replace(b'"Acme"', b'"\\u0041cme"'),
            canonical(PAYLOAD).replace(b'"generation":0', b'"generation":-0'),
            canonical(PAYLOAD).replace(b'"version":3', b'"version":2,"version":3'),
        ],
        ids=["order", "spaces", "line end", "leading space", "escape", "minus zero", "said twice"],
    )
    def test_json_that_is_not_canonical(self, payload: bytes) -> None:
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(signed(payload), TRUST)
        assert caught.value.field == "payload"

    @given(st.permutations(list(PAYLOAD)).filter(lambda names: names != sorted(names)))
    def test_reordered_keys(self, names: list[str]) -> None:
        payload = json.dumps({name: PAYLOAD[name] for name in names}, separators=(",", ":")).encode()
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(signed(payload), TRUST)
        assert caught.value.field == "payload"

    @pytest.mark.parametrize("frame", [{"end": "\r\n"}, {"end": "\r"}, {"line": 76}, {"line": 63}, {"line": 10**6}])
    def test_other_lines(self, frame: dict[str, Any]) -> None:
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(signed(canonical(PAYLOAD), **frame), TRUST)
        assert caught.value.field == "frame"

    def test_base64_with_bits_left_over(self) -> None:
        """The last character before the padding carries bits that decoders drop."""
        text = signed(canonical(PAYLOAD | {"customer": {"id": "c", "name": ""}}))
        assert "=\n" in text
        at = text.index("=") - 1
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for character in alphabet.replace(text[at], ""):
            with pytest.raises(LicenseFileInvalid):
                decode(text[:at] + character + text[at + 1 :], TRUST)

    def test_another_version_says_that_a_newer_client_may_help(self) -> None:
        with pytest.raises(LicenseFileInvalid, match="newer client") as caught:
            decode(signed(canonical(PAYLOAD), header="Version: 2"), TRUST)
        assert caught.value.field == "Version"

    def test_a_file_over_the_limit_is_not_looked_at(self) -> None:
        with pytest.raises(LicenseFileInvalid, match="larger") as caught:
            decode("A" * (SIZE_LIMIT + 1), TRUST)
        assert caught.value.field == "file"


class TestDecodeNamesTheField:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"format": 2}, "format"),
            ({"format": True}, "format"),
            ({"license": "acme"}, "license"),
            ({"license": 7}, "license"),
            ({"issued_at": None}, "issued_at"),
            ({"issued_at": "2026-03-01"}, "issued_at"),
            ({"expires_at": "2027-01-31T00:00:00+00:00"}, "expires_at"),
            ({"expires_at": "2027-13-31T00:00:00Z"}, "expires_at"),
            ({"not_before": "2027-01-31t00:00:00Z"}, "not_before"),
            ({"customer": "Acme"}, "customer"),
            ({"customer": {"id": "", "name": "Acme"}}, "customer.id"),
            ({"customer": {"id": "cus_acme"}}, "customer.name"),
            ({"customer": {"id": "cus_acme", "name": "Acme", "email": "x"}}, "customer"),
            ({"model": ""}, "model"),
            ({"version": "3"}, "version"),
            ({"version": 1.0}, "version"),
            ({"version": True}, "version"),
            ({"generation": -1}, "generation"),
            ({"generation": 10**400}, "generation"),
            ({"entitlements": []}, "entitlements"),
            ({"entitlements": {"ratio": 0.5}}, "entitlements"),
            ({"entitlements": {"a": [[[[[[[[1]]]]]]]]}}, "entitlements"),
            ({"receipt_key": "AAAA"}, "receipt_key"),
            ({"receipt_key": PAYLOAD["receipt_key"] + "="}, "receipt_key"),
            ({"receipt_key": PAYLOAD["receipt_key"][:-1] + "B"}, "receipt_key"),
            ({"credential": {"kind": "transform"}}, "credential.kind"),
            ({"credential": {"kind": "serial_number"}}, "credential.mode"),
            ({"credential": NUMBER | {"shape": [1, 2]}}, "credential.shape"),
            ({"credential": NUMBER | {"shape": [1, 2, 2.0]}}, "credential.shape"),
            ({"credential": NUMBER | {"shape": [1, 2, True]}}, "credential.shape"),
            ({"credential": NUMBER | {"shape": [1, 2**10, 2**10]}}, "credential.shape"),
            ({"credential": NUMBER | {"shape": [3, 2, 2]}}, "credential.shape"),
            ({"credential": NUMBER | {"shape": [1, 2, 3]}}, "credential.plan"),
            ({"credential": NUMBER | {"mode": "CMYK"}}, "credential.mode"),
            ({"credential": NUMBER | {"plan": NUMBER["plan"] + "="}}, "credential.plan"),
            ({"credential": NUMBER | {"plan": plan(0, 1, 2, 4)}}, "credential.plan"),
            ({"credential": NUMBER | {"plan": plan(0, 1, 2, -7)}}, "credential.plan"),
            ({"credential": NUMBER | {"plan": ""}}, "credential.plan"),
            ({"credential": NUMBER | {"value_range": [0, 1]}}, "credential.value_range"),
            ({"credential": NUMBER | {"value_range": ["0", "1.0"]}}, "credential.value_range"),
            ({"credential": NUMBER | {"value_range": ["0.0", "1.00"]}}, "credential.value_range"),
            ({"credential": NUMBER | {"value_range": ["1.0", "0.0"]}}, "credential.value_range"),
            ({"credential": NUMBER | {"value_range": ["0.0", "inf"]}}, "credential.value_range"),
            ({"credential": NUMBER | {"value_range": ["0.0", "1e+99"]}}, "credential.value_range"),
            ({"credential": NUMBER | {"note": 1}}, "credential"),
            ({"credential": {"kind": ["key"]}}, "credential.kind"),
            ({"credential": {"kind": "key"}}, "credential.key"),
            ({"credential": {"kind": "key", "key": "abc"}}, "credential.key"),
            ({"credential": {"kind": "key", "key": "sgn_a\r\nX-Injected: 1"}}, "credential.key"),
            ({"credential": FINGERPRINT | {"images": [""]}}, "credential.images.0"),
            ({"credential": FINGERPRINT | {"images": ["AA", "+/8"]}}, "credential.images.1"),
            ({"credential": FINGERPRINT | {"images": []}}, "credential.images"),
            ({"credential": FINGERPRINT | {"images": ["AA"] * 17}}, "credential.images"),
            ({"credential": FINGERPRINT | {"images": "AA"}}, "credential.images"),
            ({"credential": FINGERPRINT | {"code": ""}}, "credential.code"),
            ({"credential": FINGERPRINT | {"key": "sgn_a"}}, "credential"),
            ({"server": "ftp://gateway.example"}, "server"),
            ({"server": "https://user:pass@gateway.example"}, "server"),
            ({"server": "https://gateway.example/?a"}, "server"),
            ({"server": "https://gateway.example:99999"}, "server"),
            ({"server": "https://"}, "server"),
            ({"server": "https://[::1"}, "server"),
            ({"note": "hello"}, "payload"),
        ],
    )
    def test_a_wrong_value(self, changes: dict[str, Any], field: str) -> None:
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(signed(canonical(PAYLOAD | changes)), TRUST)
        assert caught.value.field == field

    @pytest.mark.parametrize("name", sorted(PAYLOAD))
    def test_a_missing_value(self, name: str) -> None:
        with pytest.raises(LicenseFileInvalid, match="missing") as caught:
            decode(signed(canonical({key: value for key, value in PAYLOAD.items() if key != name})), TRUST)
        assert caught.value.field == name

    @given(
        st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(repr).map(str.encode)
    )
    def test_a_payload_that_is_no_license(self, payload: bytes) -> None:
        try:
            text = signed(payload)
        except UnicodeEncodeError:
            return
        with pytest.raises(LicenseFileInvalid):
            decode(text, TRUST)

    @pytest.mark.parametrize("payload", [b"[" * 100_000, b"9" * 10_000, b"NaN", b"\xff", b'{"a":1e999}', b'"\\ud800"'])
    def test_json_that_breaks_readers(self, payload: bytes) -> None:
        with pytest.raises(LicenseFileInvalid):
            decode(signed(payload), TRUST)

    def test_a_lone_surrogate_in_a_name(self) -> None:
        payload = canonical(PAYLOAD).replace(b'"Acme"', b'"\\ud800"')
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(signed(payload), TRUST)
        assert caught.value.field == "payload"


class TestDecodeTrusts:
    def test_nobody_whom_the_anchor_does_not_name(self, license_file: LicenseFile) -> None:
        stranger = Ed25519PrivateKey.generate()
        with pytest.raises(UntrustedIssuer) as caught:
            decode(encode(license_file, "stranger", stranger), TRUST)
        assert caught.value.key_id == "stranger"

    def test_no_stranger_who_takes_an_issuers_name(self, license_file: LicenseFile) -> None:
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(encode(license_file, KEY_ID, Ed25519PrivateKey.generate()), TRUST)
        assert caught.value.field == "signature"

    def test_no_signature_moved_to_another_of_its_issuers_keys(self, license_file: LicenseFile) -> None:
        text = encode(license_file, KEY_ID, ISSUER).replace(f"Key-Id: {KEY_ID}", "Key-Id: second")
        with pytest.raises(LicenseFileInvalid) as caught:
            decode(text, {**TRUST, "second": ISSUER.public_key()})
        assert caught.value.field == "signature"


class TestSecrets:
    def test_repr_shows_neither_receipt_key_nor_credential(
        self, license_file: LicenseFile, key_license: LicenseFile
    ) -> None:
        shown = repr(license_file) + repr(key_license) + repr(license_file.credential) + repr(key_license.credential)
        assert "lic_acme" in shown
        for secret in ("receipt key of", "pixels", "secretsecret"):
            assert secret not in shown

    def test_the_summary_holds_none(self, license_file: LicenseFile) -> None:
        summary = license_file.summary()
        assert summary.expires_at == license_file.expires_at
        assert not {"receipt_key", "credential"} & set(vars(summary))

    def test_an_error_carries_none_along(self) -> None:
        """Neither in its text nor in the exceptions it came from, which a crash reporter prints."""
        for payload in (canonical(PAYLOAD)[:-1], canonical(PAYLOAD).replace(b'"Acme"', b'"\\ud800"')):
            with pytest.raises(LicenseFileInvalid) as caught:
                decode(signed(payload), TRUST)
            error: BaseException | None = caught.value
            while error is not None:
                assert (
                    "sgn_abc"
                    not in f"{error.args}{vars(error)}{getattr(error, 'doc', '')}{getattr(error, 'object', '')}"
                )
                error = error.__context__
