"""Any body under any media type."""

import asyncio
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.specs import InputSpec
from service.inputs.body import Decoder, Received, SessionBody, decode_fingerprints, read_session
from tests.service.inputs.anything import (
    GOOD,
    NESTED,
    SPECS,
    answers_or_refuses,
    damaged,
    quick,
)

DECODER = Decoder(max_pixels=10_000)


MEDIA = st.sampled_from(
    [
        "",
        "application/json",
        "application/json; charset=utf-16",
        "image/png",
        "application/octet-stream",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=b; charset=idna",
        "multipart/form-data; boundary=" + "b" * 300,
    ]
)
PART = st.builds(
    lambda headers, body: b"--b\r\n" + headers + b"\r\n\r\n" + body + b"\r\n",
    st.sampled_from(
        [
            b'Content-Disposition: form-data; name="images"; filename="a"',
            b'Content-Disposition: form-data; name="nonce"',
            b'Content-Disposition: form-data; name="fingerprint"; filename=""',
            b'Content-Disposition: form-data; filename="a"',
            b"Content-Disposition: form-data; name*=utf-8''%ff; filename*=x",
            b"Content-Disposition: attachment",
            b"Content-Disposition",
            b"X" * 9000 + b": 1",
            b": ",
            b"",
        ]
    ),
    st.one_of(st.binary(max_size=30), st.sampled_from(GOOD), st.just(b"A" * 43)),
)
BODY = st.one_of(
    st.binary(max_size=60),
    damaged(),
    st.lists(PART, max_size=4).map(lambda parts: b"".join(parts) + b"--b--\r\n"),
    st.lists(PART, max_size=3).map(b"".join),
    st.builds(lambda value: json.dumps({"inputs": value}).encode("utf-8", "surrogatepass"), NESTED),
    st.builds(
        lambda n, f: json.dumps({"nonce": n, "fingerprint": f}).encode(),
        st.one_of(st.just("A" * 43), st.text()),
        NESTED,
    ),
)


class TestBodies:
    @quick
    @given(BODY, MEDIA, SPECS)
    def test_a_prediction_of_anything(self, body: bytes, media: str, spec: InputSpec) -> None:
        answers_or_refuses(lambda: asyncio.run(DECODER.instances(Received(media, body), spec)), spec)

    @quick
    @given(BODY, MEDIA, SPECS)
    def test_a_session_of_anything(self, body: bytes, media: str, spec: InputSpec) -> None:
        async def work() -> NDArray[np.float32]:
            session: SessionBody = await read_session(Received(media, body))
            assert len(session.nonce) == 32
            if session.fingerprint is None:
                return spec.from_grid(np.zeros((1, *spec.shape), np.uint8))
            return decode_fingerprints(DECODER, session.fingerprint, spec, longest=2)

        answers_or_refuses(lambda: asyncio.run(work()), spec)
