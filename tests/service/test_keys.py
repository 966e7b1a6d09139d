"""Keys: what is minted parses, what was changed does not, and no digest says anything about its key."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.keyring import KeyRing
from service.keys import KEY_PATTERN, Key, keyed_digest

RING = KeyRing.generate()
ROOT = RING.active_root


@pytest.mark.parametrize("kind", ["sgn", "sga"])
def test_a_minted_key_parses_and_has_the_documented_form(kind: str) -> None:
    key = Key.mint(kind)  # type: ignore[arg-type]
    assert Key.parse(key.text) == key
    assert re.fullmatch(rf"{kind}_[0-9a-f]{{12}}\.[0-9A-Za-z]{{49}}", key.text)
    assert KEY_PATTERN.fullmatch(key.text)
    assert key.text.startswith(f"{kind}_{key.public_id}.")


def test_keys_do_not_repeat_and_use_the_whole_alphabet() -> None:
    keys = {Key.mint("sgn").text for _ in range(500)}
    assert len(keys) == 500
    assert len({digit for key in keys for digit in key.partition(".")[2][:43]}) == 62


def test_its_representation_shows_its_end_alone() -> None:
    key = Key.mint("sgn")
    assert key.text.partition(".")[2][:-4] not in repr(key)
    assert repr(key).endswith(f"{key.text[-4:]})")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_one_character_changed_is_noticed(data: st.DataObject) -> None:
    text = Key.mint("sgn").text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))
    assert Key.parse(text[:at] + other + text[at + 1 :]) is None


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"sg[na]_[0-9a-f]{12}\.[0-9A-Za-z]{49}", fullmatch=True)))
def test_any_text_is_a_key_or_none(text: str) -> None:
    key = Key.parse(text)
    assert key is None or key.text == text


@pytest.mark.parametrize("change", ["{} ", " {}", "{}\n", "{}\0", '"{}"', "Bearer {}"])
def test_nothing_may_stand_around_it(change: str) -> None:
    assert Key.parse(change.format(Key.mint("sgn").text)) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_digests_are_equal_only_for_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    digests = [keyed_digest(RING, ROOT, "key", *parts) for parts in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


def test_a_digest_hangs_on_root_kind_and_every_part() -> None:
    other = RING.rotated()
    digests = {
        keyed_digest(RING, ROOT, "key", b"a", b"b"),
        keyed_digest(other, other.active_root, "key", b"a", b"b"),
        keyed_digest(RING, ROOT, "admin", b"a", b"b"),
        keyed_digest(RING, ROOT, "key", b"ab"),
        keyed_digest(RING, ROOT, "key", b"a", b"b", b""),
    }
    assert len(digests) == 5
    assert keyed_digest(other, ROOT, "key", b"a", b"b") in digests  # a rotation keeps what was enrolled
