from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SerialNumberError
from models.serial_numbers.dsn import Statement, belongs, number, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
STATEMENT = Statement("Signet GmbH", "Acme Optics", "digits/2", "2027-01-15T12:00:00Z")

names = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=30).filter(str.isprintable)


class TestStatement:
    @given(owner=names, customer=names, model=names, attempt=st.integers(0, 10**6))
    def test_it_reads_back_from_its_own_bytes(self, owner: str, customer: str, model: str, attempt: int) -> None:
        statement = Statement(owner, customer, model, "2027-01-15T12:00:00Z", attempt)
        assert Statement.from_bytes(statement.to_bytes()) == statement

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("owner", ""),
            ("customer", "a" * 201),
            ("model", "a\nb"),
            ("model", 7),
            ("issued_at", "2027-01-15"),
            ("issued_at", "2027-13-15T12:00:00Z"),
            ("issued_at", "2027-01-15T12:00:00+00:00"),
            ("issued_at", None),
            ("attempt", -1),
            ("attempt", True),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, value: object) -> None:
        with pytest.raises(SerialNumberError) as caught:
            replace(STATEMENT, **{field: value})  # type: ignore[arg-type]
        assert caught.value.field == field

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b"{}",
            b"[" * 100_000,
            STATEMENT.to_bytes() + b"\n",
            json.dumps(json.loads(STATEMENT.to_bytes())).encode(),
            json.dumps(json.loads(STATEMENT.to_bytes()) | {"more": 1}, separators=(",", ":"), sort_keys=True).encode(),
        ],
    )
    def test_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(SerialNumberError, match="statement"):
            Statement.from_bytes(data)


class TestNumber:
    def test_it_is_hkdf_of_the_signature_and_does_not_change(self) -> None:
        signature = sign(KEY, STATEMENT)
        extracted = hmac.new(bytes(32), signature, hashlib.sha256).digest()
        expanded = hmac.digest(extracted, b"signet/serial-number/1|64\x01", "sha256")[:8]
        assert number(signature, 64).tolist() == np.unpackbits(np.frombuffer(expanded, dtype=np.uint8)).tolist()

    def test_each_customer_time_and_length_has_another(self) -> None:
        others = [replace(STATEMENT, customer="Globex"), replace(STATEMENT, issued_at="2027-01-15T12:00:01Z")]
        signatures = [sign(KEY, one) for one in (STATEMENT, *others)]
        found = [number(signature, 256) for signature in signatures]
        for first in range(3):
            for second in range(first):
                assert 80 < int((found[first] != found[second]).sum()) < 176  # six standard deviations about a half
        assert not torch.equal(number(signatures[0], 64), found[0][:64])

    @pytest.mark.parametrize("bits", [64, 65, 128, 65_280])
    def test_it_has_as_many_bits_as_were_asked_for(self, bits: int) -> None:
        found = number(sign(KEY, STATEMENT), bits)
        assert found.dtype == torch.bool
        assert len(found) == bits

    def test_the_papers_nine_bits_are_for_its_tables(self) -> None:
        assert len(number(sign(KEY, STATEMENT), 9)) == 9

    @pytest.mark.parametrize("bits", [0, 8, 10, 63, 65_281, 64.0, True])
    def test_too_few_or_too_many_are_refused(self, bits: int) -> None:
        with pytest.raises(SerialNumberError, match="bits"):
            number(sign(KEY, STATEMENT), bits)

    def test_a_signature_is_64_bytes(self) -> None:
        with pytest.raises(SerialNumberError, match="signature"):
            number(b"x" * 63, 64)


class TestBelongs:
    def test_to_whom_the_owner_issued_it_and_nobody_else(self) -> None:
        signature = sign(KEY, STATEMENT)
        found = number(signature, 128)
        assert belongs(STATEMENT, signature, PUBLIC, found)
        assert not belongs(replace(STATEMENT, customer="Globex"), signature, PUBLIC, found)
        stranger = Ed25519PrivateKey.generate()
        assert not belongs(STATEMENT, signature, stranger.public_key().public_bytes_raw(), found)
        assert not belongs(STATEMENT, sign(stranger, STATEMENT), PUBLIC, found)
        changed = found.clone()
        changed[7] = ~changed[7]
        assert not belongs(STATEMENT, signature, PUBLIC, changed)

    def test_what_is_no_key_is_refused(self) -> None:
        with pytest.raises(SerialNumberError, match="public_key"):
            belongs(STATEMENT, sign(KEY, STATEMENT), b"short", torch.zeros(64, dtype=torch.bool))

    def test_no_error_shows_the_signature(self) -> None:
        signature = sign(KEY, STATEMENT)
        with pytest.raises(SerialNumberError) as caught:
            number(signature, 3)
        assert signature.hex() not in str(caught.value)
