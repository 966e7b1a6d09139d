"""ONNX files of versions, each written by a process of its own: the exporter takes seconds, changes torch's own classes
while it looks at a network, and cannot be interrupted in a thread.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

import orjson
import torch

from models import networks
from models.checkpoints import Manifest, encode_weights
from models.engines import ONNX, onnx_of
from models.errors import EngineError
from service.catalogue.artefacts import Artefact
from service.inference.engine import one_core
from service.inference.loaded import Loaded, build

_COMMAND = "from service.inference.exporting import main; main()"
_POLITE = 10  # answers come first


async def exported(loaded: Loaded, registered: Mapping[str, str]) -> bytes:
    """A version as an ONNX file; `registered` are the operator's own architectures. Cancelled, the process is killed.

    Raises:
        EngineError: it cannot be written.
    """
    head = orjson.dumps({"networks": dict(registered), "manifest": loaded.manifest.to_bytes().decode()})
    weights = await asyncio.to_thread(encode_weights, loaded.predictor.network)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COMMAND, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        written, _ = await process.communicate(head + b"\n" + weights)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not written:
        raise EngineError(ONNX, f"cannot be built: its process ended with {process.returncode}")
    return written


def main() -> None:
    """Standard input: a line of JSON, then the weights; standard output: the file."""
    os.nice(_POLITE)
    one_core()
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library says is not part of the file
    head, _, weights = sys.stdin.buffer.read().partition(b"\n")
    asked = orjson.loads(head)
    for name, target in asked["networks"].items():
        networks.allow(name, target)
    manifest = Manifest.from_bytes(asked["manifest"].encode())
    predictor = build(Artefact(manifest, weights, b""))
    with os.fdopen(answer, "wb") as file:
        file.write(onnx_of(predictor, torch.zeros(2, *manifest.input_spec.shape)))
