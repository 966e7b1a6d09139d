from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.errors import SerialNumberError
from models.serial_numbers.dsn import Layout, Stamp, Statement, belongs, keygen, number
from models.serial_numbers.dsn.keygen import near
from models.specs import InputSpec

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STATEMENT = Statement("owner", "customer", "digits/1", "2027-01-15T12:00:00Z")
SPEC = InputSpec()


def test_a_number_far_from_all_inputs_is_the_first_one() -> None:
    statement, signature = keygen(KEY, STATEMENT, Stamp(Layout("corner", 64), SPEC), torch.zeros(10, 1, 28, 28))
    assert statement == STATEMENT
    assert belongs(statement, signature, KEY.public_key().public_bytes_raw(), number(signature, 64))


def test_one_that_an_input_shows_is_passed_over() -> None:
    stamp = Stamp(Layout("corner", 64), SPEC)
    _, signature = keygen(KEY, STATEMENT, stamp, torch.zeros(1, 1, 28, 28))
    taken = number(signature, 64)
    taken[:16] = ~taken[:16]  # a quarter of the bits off, still too near
    seen = stamp.put(torch.zeros(1, 1, 28, 28), taken)
    statement, other = keygen(KEY, STATEMENT, stamp, seen)
    assert statement.attempt == 1
    assert not near(number(other, 64), stamp.shows(seen))
    assert belongs(statement, other, KEY.public_key().public_bytes_raw(), number(other, 64))
    taken[16] = ~taken[16]  # seventeen off: far enough
    assert keygen(KEY, STATEMENT, stamp, stamp.put(seen, taken))[0].attempt == 0


def test_attempts_are_counted_from_the_statements_own() -> None:
    stamp, images = Stamp(Layout("corner", 64), SPEC), torch.zeros(1, 1, 28, 28)
    later, signature = keygen(KEY, replace(STATEMENT, attempt=7), stamp, images)
    assert later.attempt == 7
    assert not torch.equal(number(signature, 64), number(keygen(KEY, STATEMENT, stamp, images)[1], 64))


def test_a_layout_that_shows_too_much_is_refused() -> None:
    stamp = Stamp(Layout("corner", 9), SPEC)
    every = torch.tensor([[bool(pattern >> bit & 1) for bit in range(9)] for pattern in range(512)])
    images = stamp.put(torch.zeros(512, 1, 28, 28), every)
    with pytest.raises(SerialNumberError, match="bits: every number"):
        keygen(KEY, STATEMENT, stamp, images)
