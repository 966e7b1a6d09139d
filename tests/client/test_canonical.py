"""One spelling for each value."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signet_client.canonical import from_base64url, from_json, from_time, to_base64url, to_json, to_time


class TestBase64url:
    @given(st.binary(max_size=100))
    def test_what_is_written_is_read_back(self, data: bytes) -> None:
        assert from_base64url(to_base64url(data)) == data

    @given(st.text(max_size=30))
    def test_what_is_read_would_be_written_so(self, text: str) -> None:
        try:
            data = from_base64url(text)
        except ValueError:
            return
        assert to_base64url(data) == text

    @pytest.mark.parametrize("text", ["AA==", "AB", "A", "A A", "AAAA\n", "+/8A", "AAA=", "ä"])
    def test_other_spellings_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="base64url"):
            from_base64url(text)


class TestTime:
    @given(st.datetimes(timezones=st.timezones()))
    def test_what_is_written_is_read_back(self, moment: datetime) -> None:
        moment = moment.replace(microsecond=0)
        try:
            text = to_time(moment)
        except OverflowError:  # the first and the last day, in some zones
            return
        assert from_time(text) == moment.astimezone(UTC)

    @pytest.mark.parametrize(
        "text", ["2027-01-31", "2027-01-31T00:00:00", "2027-01-31 00:00:00Z", "2027-W04-7", "", "Z"]
    )
    def test_other_spellings_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="2027-01-31T00:00:00Z"):
            from_time(text)


class TestJson:
    def test_sorted_tight_and_unescaped(self) -> None:
        assert to_json({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'.encode()

    @pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"-Infinity", b"\xff", b"[" * 100_000])
    def test_what_is_not_json_is_a_value_error_without_the_document(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="not JSON") as caught:
            from_json(data)
        assert caught.value.__context__ is None
