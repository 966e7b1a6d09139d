"""A PNG, a JSON tensor and a binary tensor of one picture give bit-equal answers; a decoy is no exception."""

import numpy as np
import pytest

from tests.service.inputs import builders as made
from tests.service.standing import Standing

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/models/digits/predict"


@pytest.mark.parametrize("caller", ["licensee", "stranger"])
async def test_every_spelling_of_a_picture_gets_the_same_bytes(standing: Standing, caller: str) -> None:
    client = getattr(standing, caller)
    png, values = made.saved(), made.unit()
    answers = [
        await client.post(PATH, files={"images": ("a.png", png)}),
        await client.post(PATH, files={"images": ("a.npy", made.npy(values))}),
        await client.post(PATH, content=png, headers={"Content-Type": "image/png"}),
        await client.post(PATH, content=made.npy(), headers={"Content-Type": "application/x-npy"}),
        await client.post(PATH, content=made.npy(values[None]), headers={"Content-Type": "application/octet-stream"}),
        await client.post(PATH, json={"inputs": values.tolist()}),
        await client.post(PATH, json={"inputs": values.astype(np.float64)[None, None].tolist()}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


async def test_many_pictures_are_answered_in_the_order_sent(standing: Standing) -> None:
    pictures = [made.saved(made.GREY), made.saved(255 - made.GREY), made.saved(made.GREY.T.copy())]
    alone = [
        (await standing.licensee.post(PATH, files={"images": ("a", one)})).json()["predictions"] for one in pictures
    ]
    together = await standing.licensee.post(PATH, files=[("images", ("a", one)) for one in pictures])
    for one, (expected,) in zip(together.json()["predictions"], alone, strict=True):
        assert one["label"] == expected["label"]
        assert np.allclose(one["scores"], expected["scores"], atol=1e-6)
