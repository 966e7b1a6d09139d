"""A receipt opens for the one nonce, model and token that it was sealed for, and for nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from signet_client.canonical import from_base64url, to_base64url
from signet_client.errors import SessionUnproved
from signet_client.receipts import RECEIPT_BYTES, associated_data, open_receipt, seal

KEY, NONCE, MODEL, TOKEN, IV = b"k" * 32, b"n" * 32, "digits", "token", b"i" * 12
CLAIMS: dict[str, object] = {
    "license": "lic_acme",
    "model": MODEL,
    "version": 3,
    "issued_at": "2026-03-01T09:30:00Z",
    "expires_at": "2026-03-01T09:45:00Z",
}
RECEIPT = seal(KEY, NONCE, MODEL, TOKEN, CLAIMS, IV)


def sealed_raw(plaintext: bytes) -> str:
    """Any plaintext under the right key, by the format's description."""
    bound_to = b"signet/receipt/1\0" + NONCE + b"\0digits\0" + hashlib.sha256(b"token").digest()
    return to_base64url(IV + AESGCM(KEY).encrypt(IV, plaintext, bound_to))


def padded(claims: Any) -> bytes:
    text = json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()
    return (len(text).to_bytes(2, "big") + text).ljust(256, b"\0")


class TestSeal:
    @given(st.binary(min_size=32, max_size=32), st.text("abc-.0", min_size=1, max_size=60), st.text(max_size=200))
    def test_what_is_sealed_opens_and_always_has_one_length(self, nonce: bytes, model: str, token: str) -> None:
        try:
            token.encode()
        except UnicodeEncodeError:
            return
        receipt = seal(KEY, nonce, model, token, {**CLAIMS, "model": model}, IV)
        assert len(receipt) == 379 == len(to_base64url(bytes(RECEIPT_BYTES)))
        assert open_receipt(KEY, nonce, model, token, receipt) == {**CLAIMS, "model": model}

    def test_the_bytes_are_those_the_format_describes(self) -> None:
        assert sealed_raw(padded(CLAIMS)) == RECEIPT
        assert associated_data(NONCE, MODEL, TOKEN).startswith(b"signet/receipt/1\0" + NONCE + b"\0digits\0")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"key": b"k" * 16}, "key of 32"),
            ({"nonce": b"n"}, "nonce of 32"),
            ({"iv": b"i" * 16}, "iv of 12"),
            ({"claims": {"license": "lic_acme"}}, "claims are"),
            ({"claims": CLAIMS | {"version": "3"}}, "claims are"),
            ({"claims": CLAIMS | {"customer": "Acme"}}, "claims are"),
            ({"claims": CLAIMS | {"license": "lic_" + "x" * 200}}, "at most 254"),
        ],
    )
    def test_a_gateways_mistake_is_an_error_there(self, changes: dict[str, Any], reason: str) -> None:
        parts: dict[str, Any] = {"key": KEY, "nonce": NONCE, "model": MODEL, "token": TOKEN, "claims": CLAIMS, "iv": IV}
        with pytest.raises(ValueError, match=reason):
            seal(**parts | changes)


class TestOpenReceipt:
    def test_every_changed_bit_is_noticed(self) -> None:
        raw = from_base64url(RECEIPT)
        for at in range(len(raw)):
            for bit in range(8):
                altered = to_base64url(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
                with pytest.raises(SessionUnproved):
                    open_receipt(KEY, NONCE, MODEL, TOKEN, altered)

    @pytest.mark.parametrize(
        "altered",
        [RECEIPT + "=", RECEIPT + "\n", " " + RECEIPT, RECEIPT[:-1], RECEIPT + "AAAA", "", "ä", "\ud800", "A" * 379],
    )
    def test_another_spelling_is_refused(self, altered: str) -> None:
        with pytest.raises(SessionUnproved):
            open_receipt(KEY, NONCE, MODEL, TOKEN, altered)

    @given(st.binary(min_size=RECEIPT_BYTES, max_size=RECEIPT_BYTES))
    def test_a_strangers_random_receipt_does_not_open(self, raw: bytes) -> None:
        with pytest.raises(SessionUnproved, match="does not open"):
            open_receipt(KEY, NONCE, MODEL, TOKEN, to_base64url(raw))

    @pytest.mark.parametrize(
        ("key", "nonce", "model", "token"),
        [
            (b"K" * 32, NONCE, MODEL, TOKEN),
            (KEY, b"N" * 32, MODEL, TOKEN),
            (KEY, NONCE, "letters", TOKEN),
            (KEY, NONCE, MODEL, "another"),
        ],
        ids=["key", "nonce", "model", "token"],
    )
    def test_it_is_bound_to_each_of(self, key: bytes, nonce: bytes, model: str, token: str) -> None:
        with pytest.raises(SessionUnproved):
            open_receipt(key, nonce, model, token, RECEIPT)

    @pytest.mark.parametrize(
        "plaintext",
        [
            padded(CLAIMS)[:-1] + b"\1",
            b"\xff\xff" + padded(CLAIMS)[2:],
            bytes(256),
            padded([]),
            padded({key: value for key, value in CLAIMS.items() if key != "license"}),
            padded(CLAIMS | {"more": 1}),
            padded(CLAIMS | {"version": True}),
            padded(CLAIMS | {"model": "letters"}),
        ],
        ids=["padding", "length", "empty", "list", "missing", "more", "type", "model"],
    )
    def test_what_it_says_is_checked_even_under_the_right_key(self, plaintext: bytes) -> None:
        with pytest.raises(SessionUnproved):
            open_receipt(KEY, NONCE, MODEL, TOKEN, sealed_raw(plaintext))
