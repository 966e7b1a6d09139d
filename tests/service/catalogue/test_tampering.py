"""Whoever changes a file under the gateway's feet gets nothing served from it, and the other models go on."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from models.checkpoints import Manifest, sign_manifest
from service.app import create_app
from service.catalogue.tables import ModelVersion
from service.inference import engine
from tests.service import expect
from tests.service.catalogue import uploads as made
from tests.service.conftest import client_of
from tests.service.inputs import builders
from tests.service.standing import Standing

PREDICT = "/v1/models/digits/predict"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def folder(standing: Standing) -> Iterator[Path]:
    """The served version's files; put right again afterwards."""
    path = standing.gateway.settings.home / "models" / "digits" / "1"
    kept = path.with_name("kept")
    shutil.copytree(path, kept)
    yield path
    shutil.rmtree(path, ignore_errors=True)
    kept.rename(path)


def flipped(name: str) -> Callable[[Path, Standing], None]:
    """One bit of a file changed, near its end."""

    def change(path: Path, _: Standing) -> None:
        data = bytearray((path / name).read_bytes())
        data[-5] ^= 1
        (path / name).write_bytes(data)

    return change


def other_weights(path: Path, _: Standing) -> None:
    """Weights that fit the network, but are not the ones signed for."""
    tensors = made.load((path / "weights.safetensors").read_bytes())
    tensors["fc3.bias"] += 1
    (path / "weights.safetensors").write_bytes(made.save(tensors))


def edited(path: Path, _: Standing) -> None:
    """The manifest says another deviation; its signature is the old one."""
    data = (path / "manifest.json").read_bytes()
    (path / "manifest.json").write_bytes(data.replace(b'"std":[0.35]', b'"std":[0.36]'))


def unsigned(path: Path, _: Standing) -> None:
    """The manifest without its signature."""
    manifest = Manifest.from_bytes((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(replace(manifest, signature=None, key_id=None).to_bytes())


def signed_by_a_stranger(path: Path, standing: Standing) -> None:
    """Another key under the id of ours."""
    manifest = Manifest.from_bytes((path / "manifest.json").read_bytes())
    forged = sign_manifest(manifest, standing.gateway.ring.active_issuer, Ed25519PrivateKey.generate())
    (path / "manifest.json").write_bytes(forged.to_bytes())


def signed_for_another_version(path: Path, standing: Standing) -> None:
    """A manifest that we did sign, but not for this version."""
    manifest = Manifest.from_bytes((path / "manifest.json").read_bytes())
    other = replace(manifest, metrics={"accuracy": 1.0})
    ours = sign_manifest(other, standing.gateway.ring.active_issuer, standing.gateway.ring.issuer)
    (path / "manifest.json").write_bytes(ours.to_bytes())


def without(name: str) -> Callable[[Path, Standing], None]:
    """A file taken away."""
    return lambda path, _: (path / name).unlink()


def replaced(name: str, data: bytes) -> Callable[[Path, Standing], None]:
    """A file replaced."""

    def change(path: Path, _: Standing) -> None:
        (path / name).write_bytes(data)

    return change


ROWS = [
    pytest.param(flipped("weights.safetensors"), "weights_sha256", id="a bit of the weights"),
    pytest.param(other_weights, "weights_sha256", id="other weights"),
    pytest.param(replaced("weights.safetensors", made.PICKLE), "weights_sha256", id="a pickle for weights"),
    pytest.param(without("weights.safetensors"), "manifest", id="no weights"),
    pytest.param(flipped("calibration.safetensors"), "calibration_sha256", id="a bit of the calibration set"),
    pytest.param(without("calibration.safetensors"), "manifest", id="no calibration set"),
    pytest.param(edited, "signature", id="an edited manifest"),
    pytest.param(unsigned, "key_id", id="an unsigned manifest"),
    pytest.param(signed_by_a_stranger, "signature", id="a manifest signed by somebody else"),
    pytest.param(signed_for_another_version, "manifest", id="a manifest signed for another version"),
    pytest.param(replaced("manifest.json", b"{}"), "name", id="an empty manifest"),
    pytest.param(replaced("manifest.json", b"\xff"), "manifest", id="a manifest of rubbish"),
    pytest.param(without("manifest.json"), "manifest", id="no manifest"),
]


@pytest.mark.parametrize(("tamper", "field"), ROWS)
async def test_a_tampered_version_is_not_served_until_it_is_put_right(
    standing: Standing,
    folder: Path,
    tamper: Callable[[Path, Standing], None],
    field: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = folder.with_name("kept")
    tamper(folder, standing)
    app = create_app(standing.gateway.settings, clock=standing.clock)
    async with app.router.lifespan_context(app), client_of(app) as stranger:
        assert (await stranger.get("/v1/health/ready")).status_code == 200
        answers = [
            await stranger.post(PREDICT, content=builders.saved(), headers={"Content-Type": "image/png"} | shown)
            for shown in ({}, {"Authorization": f"Bearer {standing.key}"})
        ]
        expect.problem(answers[0], 409, "CONFLICT", field)
        expect.alike(*answers)
        assert str(folder) not in answers[0].text
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        picture = {"images": ("a.png", builders.saved())}
        assert (await stranger.post(PREDICT, files=picture)).json() == answers[0].json() | {"request_id": ANY}, (
            "not read again for every stranger"
        )
        monkeypatch.setattr(engine, "RETRY_AFTER_S", 0)
        answer = await stranger.post(PREDICT, content=builders.saved(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 200


async def test_the_version_already_loaded_answers_on(standing: Standing, folder: Path) -> None:
    picture = {"images": ("a.png", builders.saved())}
    answer = await standing.stranger.post(PREDICT, files=picture)
    shutil.rmtree(folder)
    assert (await standing.stranger.post(PREDICT, files=picture)).content == answer.content


async def test_a_catalogue_that_says_another_digest_is_not_believed(standing: Standing) -> None:
    async with standing.gateway.sessions.begin() as session:
        registered = await session.scalar(select(ModelVersion.digest))
        await session.execute(update(ModelVersion).values(digest="0" * 64))
    app = create_app(standing.gateway.settings, clock=standing.clock)
    async with app.router.lifespan_context(app), client_of(app) as stranger:
        answer = await stranger.post(PREDICT, files={"images": ("a.png", builders.saved())})
        expect.problem(answer, 409, "CONFLICT", "manifest")
    async with standing.gateway.sessions.begin() as session:
        await session.execute(update(ModelVersion).values(digest=registered))
