"""Versions to upload, sound and spoiled."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import torch
from safetensors.torch import load, save
from torch import Tensor

from service.catalogue.artefacts import Artefact
from tests.service import conftest

Tensors = dict[str, Tensor]


def canonical(content: Any) -> bytes:
    """JSON as a manifest is written."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def content_of(artefact: Artefact) -> dict[str, Any]:
    """The manifest as plain data, to be changed."""
    content: dict[str, Any] = json.loads(artefact.manifest.to_bytes())
    return content


def resealed(artefact: Artefact, *, weights: bytes | None = None, calibration: bytes | None = None) -> Artefact:
    """Other files under a manifest that speaks of them."""
    weights = artefact.weights if weights is None else weights
    calibration = artefact.calibration if calibration is None else calibration
    digests = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "calibration_sha256": hashlib.sha256(calibration).hexdigest(),
    }
    return Artefact(replace(artefact.manifest, **digests), weights, calibration)


def with_weights(artefact: Artefact, change: Callable[[Tensors], None]) -> Artefact:
    """The tensors changed, everything else as it should be."""
    tensors = load(artefact.weights)
    change(tensors)
    return resealed(artefact, weights=save(tensors))


def with_inputs(artefact: Artefact, change: Callable[[Tensor], Tensor]) -> Artefact:
    """The calibration inputs changed, everything else as it should be."""
    return resealed(artefact, calibration=save({"inputs": change(load(artefact.calibration)["inputs"]).contiguous()}))


def with_manifest(artefact: Artefact, **changes: Any) -> dict[str, tuple[str, bytes]]:
    """The files of an upload whose manifest says something else; `__` leads into objects, `...` takes a field out."""
    content = content_of(artefact)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = content
        for step in way:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return files(artefact, manifest=canonical(content))


def files(artefact: Artefact, **parts: bytes) -> dict[str, tuple[str, bytes]]:
    """The three parts of an upload, some of them replaced."""
    return {**conftest.artefact_files(artefact), **{name: (name, data) for name, data in parts.items()}}


class _Executed:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle was executed')",)


PICKLE = pickle.dumps(_Executed())


def torch_file() -> bytes:
    """What torch.save writes: a zip around a pickle."""
    file = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, file)
    return file.getvalue()


async def upload(client: httpx.AsyncClient, artefact: Artefact, **form: str) -> httpx.Response:
    """`POST /v1/models`."""
    return await client.post("/v1/models", files=conftest.artefact_files(artefact), data=form)


def renamed(artefact: Artefact, name: str) -> Artefact:
    """The same network as another model."""
    return replace(artefact, manifest=replace(artefact.manifest, name=name))
