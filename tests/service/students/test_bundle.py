"""A bundle in its customer's hands: another process, in which nothing but torch can be imported."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from signet_client.canonical import to_base64url

from models import checkpoints, data, networks
from models.predictor import Predictor
from models.serial_numbers.dsn import Policy, number, sign
from models.serial_numbers.dsn.loader import load
from models.serial_numbers.dsn.statement import Statement
from service.database import reading
from service.gateway import Gateway
from service.jobs.workshop import Workshop
from service.students.tables import Student
from tests.service import expect
from tests.service.conftest import SetClock
from tests.service.students.conftest import Ask, work_off

FILES = {"weights.safetensors", "stamp.json", "license.lic", "README.md", "load.py", "manifest.json"}
SCRIPT = """
import sys, warnings
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked}:
            raise ModuleNotFoundError('not installed here: ' + name)
sys.meta_path.insert(0, Nothing())
sys.path.insert(0, {folder!r})
import torch
torch.set_num_threads(1)
from load import BundleError, load
for each in {others!r}:
    try:
        load(each)
        print('TAKEN', each)
    except BundleError as error:
        print('REFUSED', error.file, error)
try:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        model = load({folder!r}, **{options!r})
except BundleError as error:
    print('REFUSED', error.file, error)
    raise SystemExit
images = torch.load({images!r}, weights_only=True)
grey, values = images
assert torch.equal(model(grey), model(values))
before = values.clone()
print(model(values).argmax(dim=1).tolist(), [model.labels[0], model.labels[9]])
assert torch.equal(before, values)
print('SIGNATURE', model.signature, [str(one.message) for one in said if 'signature' in str(one.message)])
"""
BARE = {"safetensors", "signet_client", "models", "service", "cryptography", "numpy"}


def run(folder: Path, images: Path, blocked: set[str] = BARE, others: Iterable[Path] = (), **options: Any) -> str:
    """What a script says that loads `others` and then the bundle, and asks it about images."""
    tried = [str(other) for other in others]
    script = SCRIPT.format(blocked=blocked, folder=str(folder), images=str(images), options=options, others=tried)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def issued(ask: Ask, workshop: Workshop, gateway: Gateway) -> dict[str, Any]:
    """A license whose student is ready."""
    license = await ask(expires_at="2099-12-31T00:00:00Z")
    await work_off(workshop)
    await gateway.sync.refresh()
    return license


@pytest.fixture
async def folder(admin: httpx.AsyncClient, issued: dict[str, Any], tmp_path: Path) -> Path:
    """Its bundle, unpacked."""
    response = await admin.get(f"/v1/licenses/{issued['id']}/bundle")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    assert f"{issued['id']}.zip" in response.headers["content-disposition"]
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert set(archive.namelist()) == FILES
        archive.extractall(folder)
    return folder


@pytest.fixture
def images(digits: data.Dataset, tmp_path: Path) -> Path:
    """Forty held-out digits, as grey levels and as values."""
    grey = torch.from_numpy(digits.test.images[:40])
    path = tmp_path / "images.pt"
    torch.save((grey, digits.input_spec.from_grid(grey)), path)
    return path


pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what it holds hangs on no database


async def test_with_torch_alone_it_answers_as_the_gateways_own_student(
    gateway: Gateway, issued: dict[str, Any], folder: Path, images: Path
) -> None:
    async with reading(gateway.sessions) as session:
        student = await session.get_one(Student, issued["student"]["id"])
    files = gateway.students.read(student.id, student.digest or "")
    version = gateway.book.models["digits"].versions[1]
    policy = Policy.from_dict(gateway.store.manifest("digits", 1, version.digest).serial_numbers or {})
    signature = sign(gateway.ring.issuers[student.issuer_key_id], Statement.from_bytes(student.statement))
    network = networks.build(files.manifest.network, files.manifest.network_config)
    checkpoints.decode_weights(network, files.weights)
    predictor = Predictor(network, files.manifest.input_spec, files.manifest.output_spec)
    _, values = torch.load(images, weights_only=True)
    stamped = policy.stamp(files.manifest.input_spec).put(values, number(signature, policy.layout.bits))
    with torch.inference_mode():
        labels = predictor(stamped).argmax(dim=1).tolist()
    said = run(folder, images)
    assert said.startswith(f"{labels} ['0', '9']\n")
    assert "SIGNATURE not checked: install `cryptography`" in said
    assert len(set(labels)) > 1


async def test_the_signature_is_checked_where_cryptography_is_installed(
    gateway: Gateway, folder: Path, images: Path
) -> None:
    known = gateway.ring.issuer.public_key().public_bytes_raw()
    with_key = BARE - {"cryptography"}
    assert "SIGNATURE checked against the manifest's own key iss-" in run(folder, images, with_key)
    assert "SIGNATURE checked []" in run(folder, images, with_key, public_key=to_base64url(known))
    assert "REFUSED manifest.json" in run(folder, images, with_key, public_key=to_base64url(bytes(32)))
    assert "REFUSED manifest.json manifest.json: cannot be checked" in run(
        folder, images, public_key=to_base64url(known)
    )


def flipped(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    if name == "load.py":
        content += b"\n# and something more\n"
    else:
        content[-2] ^= 1
    (folder / name).write_bytes(content)


def missing(folder: Path, name: str) -> None:
    (folder / name).unlink()


def says(**changes: Any) -> Callable[[Path, str], None]:
    """The manifest says something else than what was signed."""

    def change(folder: Path, name: str) -> None:
        manifest = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(manifest | changes))

    return change


def names_a_file_outside(folder: Path, name: str) -> None:
    manifest = json.loads((folder / name).read_text())
    manifest["files"]["../other"] = "0" * 64
    (folder / name).write_text(json.dumps(manifest))


TAMPERED: list[tuple[Callable[[Path, str], None], str]] = [
    *((flipped, name) for name in sorted(FILES)),
    *((missing, name) for name in sorted(FILES)),
    (says(expires_at=None), "manifest.json"),
    (says(labels=["one"] * 10), "manifest.json"),
    (says(layers=[]), "manifest.json"),
    (says(signature=None), "manifest.json"),
    (says(signature="AAAA"), "manifest.json"),
    (says(format=2), "manifest.json"),
    (names_a_file_outside, "manifest.json"),
]


async def test_whatever_was_tampered_with_is_refused_by_its_name(folder: Path, images: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    folders = []
    for index, (tamper, name) in enumerate(TAMPERED):
        folders.append(shutil.copytree(folder, tmp_path / f"tampered-{index}"))
        tamper(folders[-1], name)
    said = run(whole, images, BARE - {"cryptography"}, others=folders)
    refused = [line.split()[1] for line in said.splitlines() if line.startswith("REFUSED ")]
    assert refused == [name for _, name in TAMPERED]


def lacks(field: str) -> Callable[[Path, str], None]:
    """The manifest has no such field."""

    def change(folder: Path, name: str) -> None:
        manifest = json.loads((folder / name).read_text())
        del manifest[field]
        (folder / name).write_text(json.dumps(manifest))

    return change


async def test_a_manifest_that_nobody_would_have_written_is_refused_where_no_signature_is_checked(
    folder: Path, images: Path, tmp_path: Path
) -> None:
    whole, folders = tmp_path / "whole", []
    shutil.copytree(folder, whole)
    odd = [
        says(files=["weights.safetensors", "stamp.json"]),
        says(expires_at="soon"),
        says(layers=[{}]),
        says(labels=7),
    ]
    for index, tamper in enumerate([*odd, *map(lacks, ("not_before", "layers", "labels", "files"))]):
        folders.append(shutil.copytree(folder, tmp_path / f"odd-{index}"))
        tamper(folders[-1], "manifest.json")
    said = [line for line in run(whole, images, others=folders).splitlines() if line.startswith(("REFUSED", "TAKEN"))]
    assert [line.split()[:2] for line in said] == [["REFUSED", "manifest.json"]] * len(folders)


async def test_a_license_that_has_ended_is_said(
    admin: httpx.AsyncClient,
    ask: Ask,
    workshop: Workshop,
    gateway: Gateway,
    clock: SetClock,
    tmp_path: Path,
    images: Path,
) -> None:
    past = SetClock().now.replace(year=2020)
    license = await ask(expires_at=past.isoformat())
    await work_off(workshop)
    await gateway.sync.refresh()
    content = (await admin.get(f"/v1/licenses/{license['id']}/bundle")).content
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "old")
    said = run(tmp_path / "old", images)
    assert said.startswith("REFUSED manifest.json ")
    assert "ended on 2020-01-15" in said


async def test_a_student_that_was_tampered_with_is_not_handed_out(
    admin: httpx.AsyncClient, gateway: Gateway, issued: dict[str, Any]
) -> None:
    path = gateway.settings.home / "students" / issued["student"]["id"] / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused = await admin.get(f"/v1/licenses/{issued['id']}/bundle")
    expect.problem(refused, 409, "CONFLICT", "weights_sha256")


async def test_a_picture_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    for shape in ((1, 28, 28), (2, 3, 28, 28), (2, 1, 27, 28)):
        with pytest.raises(ValueError, match=r"images must be \(N, 1, 28, 28\)"):
            model(torch.zeros(shape))
    assert np.isfinite(model(torch.zeros(1, 1, 28, 28)).detach().numpy()).all()
