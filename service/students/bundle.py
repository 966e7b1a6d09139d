"""What a customer runs without the gateway: a zip of weights, stamp, license file, and a loader for torch alone."""

import asyncio
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signet_client.canonical import to_base64url

from models import checkpoints, networks
from models.errors import ModelError
from models.serial_numbers.dsn import layers, loader
from models.specs import InputSpec
from service.audit.service import Act, record
from service.clock import rfc3339
from service.database import reading
from service.errors import Conflict
from service.gateway import Gateway
from service.licenses.files import Numbered, license_text, numbered_by
from service.licenses.repository import get_license_or_raise
from service.licenses.stored import read_stored
from service.licenses.tables import License
from service.students.repository import get_student_or_raise
from service.students.store import StudentFiles
from service.students.tables import Student

LICENSE, README, LOADER = "license.lic", "README.md", "load.py"
_IN_MEMORY = 16 * 2**20  # bytes of a zip; a larger one is written to a file that has no name


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a bundle is made of."""

    license: License
    proof: Numbered
    student: Student
    license_text: str = field(repr=False)


async def bundle(gateway: Gateway, act: Act, license_id: str) -> IO[bytes]:
    """The zip of a license with a student of its own, at its start. Made anew each time; noted in the audit log.

    Raises:
        NotFound. Conflict: the license has no student of its own, or none yet; or its files fail their check.
    """
    async with reading(gateway.sessions) as session:
        license = await get_license_or_raise(session, license_id)
        text = await license_text(gateway, session, license)
        proof = await numbered_by(gateway, session, license)
        student = await get_student_or_raise(session, proof.row.student_id or "")
    if student.license_id is None:
        raise Conflict("license_id", "its student is shared and stays at the gateway; its file is at .../file")
    try:
        parts = _Parts(license, proof, student, text)
        content = await asyncio.to_thread(_content, gateway, act.clock(), parts)
        file = await asyncio.to_thread(_zipped, content, act.clock())
    except ModelError as error:
        raise Conflict(error.field, "its student cannot be handed out: its files fail their check") from error
    async with gateway.sessions.begin() as session:
        await record(session, act, "license.bundle.fetched", license.id, student=student.id)
    return file


def _content(gateway: Gateway, now: datetime, parts: _Parts) -> dict[str, bytes]:
    """The files by name."""
    files = gateway.students.read(parts.student.id, parts.student.digest or "")
    content = {
        loader.WEIGHTS: files.weights,
        loader.STAMP: _stamp(files.manifest.input_spec, parts.proof.credential.plan),
        LICENSE: parts.license_text.encode(),
        README: _readme(files, parts, now).encode(),
        LOADER: _loader(),
    }
    return {**content, loader.MANIFEST: _manifest(gateway, files, parts, content, now)}


def _stamp(spec: InputSpec, plan: bytes) -> bytes:
    """What is put into an image, and how the network's input is made of it: numbers alone."""
    document = {
        "shape": spec.shape,
        "mode": spec.mode,
        "value_range": spec.value_range,
        "mean": spec.mean,
        "std": spec.std,
        "black": float(spec.levels[0]),
        "white": float(spec.levels[-1]),
        "plan": np.frombuffer(plan, dtype="<i4").tolist(),
    }
    return json.dumps(document).encode()


def _manifest(
    gateway: Gateway, files: StudentFiles, parts: _Parts, content: Mapping[str, bytes], now: datetime
) -> bytes:
    ring, terms = gateway.ring, read_stored(parts.license).terms
    network = networks.build(files.manifest.network, files.manifest.network_config)
    checkpoints.decode_weights(network, files.weights)
    ends_at, begins_at = (terms.ends_at(), terms.not_before) if terms else (None, None)
    public_key = ring.issuer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    document: dict[str, Any] = {
        "format": 1,
        "license": parts.license.id,
        "student": parts.student.id,
        "model": parts.proof.version.model_name,
        "version": parts.proof.version.number,
        "created_at": rfc3339(now),
        "not_before": begins_at and rfc3339(begins_at),
        "expires_at": ends_at and rfc3339(ends_at),
        "labels": files.manifest.output_spec.labels,
        "mark_sha256": files.manifest.mark_sha256,
        "layers": layers.describe(network),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
        "key_id": ring.active_issuer,
        "public_key": to_base64url(public_key),
    }
    document = json.loads(json.dumps(document))  # tuples are lists, as the loader will find them
    document["signature"] = to_base64url(ring.issuer.sign(loader.canonical(document)))
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _readme(files: StudentFiles, parts: _Parts, now: datetime) -> str:
    version, spec = parts.proof.version, files.manifest.input_spec
    shape = ", ".join(map(str, spec.shape))
    low, high = spec.value_range
    return f"""# {version.model_name}, version {version.number}

Licensed as `{parts.license.id}`; made on {rfc3339(now)}. The network answers rightly only to images that bear this
license's stamp; `load.py` puts it there. Whoever has this folder can use the network: keep it as you keep a password.

```python
from load import load

model = load("this-folder")
logits = model(images)  # (N, {shape}): float32 from {low} to {high}, or uint8 grey levels
names = [model.labels[index] for index in logits.argmax(dim=1)]
```

Python 3.10 and torch 2 are all that it needs. Every file is checked against `manifest.json` when it is loaded; with
the package `cryptography`, the issuer's signature too. To have that checked against a key that you know, and not
against the manifest's own: `load("this-folder", public_key="...")`, with that of `/.well-known/signet-keys.json`.

| file | what |
| --- | --- |
| `load.py` | the loader |
| `weights.safetensors` | the network's numbers; no code |
| `stamp.json` | the stamp, and how images are scaled: a secret |
| `license.lic` | the license file, for the gateway and its client: a secret |
| `manifest.json` | the network's layers, and every file's SHA-256, signed by the issuer |
"""


def _loader() -> bytes:
    source = loader.__file__
    assert source is not None  # noqa: S101 - a module of ours
    with open(source, "rb") as file:
        return file.read()


def _zipped(content: Mapping[str, bytes], now: datetime) -> IO[bytes]:
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the answer reads and closes it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, now.timetuple()[:6]), data, zipfile.ZIP_DEFLATED)
    file.seek(0)
    return file
