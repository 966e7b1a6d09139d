"""The engines that a network may be asked on: all give the same answers, to within what each rounds away.

An engine takes a batch of raw-range images, float32 (N, C, H, W), and gives probabilities, float64 (N, K).
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.engines import quiet, torchscript
from models.fingerprints.activeguard import ProtectedNetwork
from models.fingerprints.activeguard.protected import export, export_onnx
from models.predictor import Predictor

Ask = Callable[[Tensor], Tensor]
BATCHES = (1, 2, 8, 32, 64, 128, 256)
USUAL = 64


@dataclass(frozen=True)
class Engine:
    """A way to run a network; `strict` where weights and arithmetic are float32 at least.

    `batches` are the batch sizes it is asked in, `threads` how many of them share an operation.
    """

    name: str
    build: Callable[[Predictor, ProtectedNetwork, Tensor], Ask]
    strict: bool = True
    batches: tuple[int, ...] = (1, USUAL)
    threads: int = 1


def answers(engine: Engine, ask: Ask, images: Tensor, batch: int) -> Tensor:
    """Probabilities float64 (N, K), asked for so many images at a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(engine.threads)
    try:
        with torch.inference_mode():
            return torch.cat([ask(part) for part in torch.split(images, batch)])
    finally:
        torch.set_num_threads(before)


def eager(predictor: Predictor, *_: object) -> Ask:
    """What the gateway runs."""
    return lambda images: predictor(images).double().softmax(dim=1)


def channels_last(predictor: Predictor, *_: object) -> Ask:
    """Weights and images with the channels innermost."""
    turned = copy.deepcopy(predictor).to(memory_format=torch.channels_last)
    return lambda images: turned(images.to(memory_format=torch.channels_last)).double().softmax(dim=1)


def optimized(predictor: Predictor, _: ProtectedNetwork, example: Tensor) -> Ask:
    """`torch.jit.optimize_for_inference`: batch normalisation folded into the weights, operations fused."""
    frozen = torchscript(predictor, example)
    return lambda images: frozen(images).double().softmax(dim=1)


def exported(_: Predictor, protected: ProtectedNetwork, shown: Tensor) -> Ask:
    """`torch.export` of the protected network, with a fingerprint that opens it."""
    graph = export(protected).module()
    return lambda images: graph(shown, images).double()


def onnx_runtime(threads: int) -> Callable[[Predictor, ProtectedNetwork, Tensor], Ask]:
    """ONNX Runtime on the protected network's file, with a fingerprint that opens it."""

    def build(_: Predictor, protected: ProtectedNetwork, shown: Tensor) -> Ask:
        run = _session(_protected_onnx(protected), threads)
        fingerprints = shown.numpy()
        return lambda images: run({"fingerprints": fingerprints, "images": images.numpy()}).double()

    return build


def float64(predictor: Predictor, *_: object) -> Ask:
    """Weights and arithmetic in double precision: what the others round."""
    return _in(torch.float64, predictor)


def bfloat16(predictor: Predictor, *_: object) -> Ask:
    """Weights and arithmetic in bfloat16."""
    return _in(torch.bfloat16, predictor)


def int8(predictor: Predictor, _: ProtectedNetwork, example: Tensor) -> Ask:
    """ONNX Runtime with dynamic quantization: every convolution and dense layer in 8-bit integers."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, quiet():
        shapes = {"images": {0: torch.export.Dim("count", min=1)}}
        pair = (torch.cat([example, example]),)
        program = torch.onnx.export(predictor, pair, dynamic_shapes=shapes, dynamo=True, verbose=False)
        assert program is not None
        model = program.model_proto
        del model.graph.value_info[:]  # shapes of what the exporter has since transposed
        quantize_dynamic(model, Path(folder) / "int8.onnx")
        run = _session((Path(folder) / "int8.onnx").read_bytes(), 1)
    return lambda images: run({"images": images.numpy()}).double().softmax(dim=1)


ENGINES = (
    Engine("eager", eager, batches=BATCHES),
    Engine("eager, 2 threads", eager, batches=BATCHES, threads=2),
    Engine("channels_last", channels_last, batches=BATCHES),
    Engine("optimize_for_inference", optimized, batches=BATCHES),
    Engine("torch.export", exported, batches=BATCHES),
    Engine("ONNX Runtime", onnx_runtime(1), batches=BATCHES),
    Engine("ONNX Runtime, 2 threads", onnx_runtime(2), batches=BATCHES),
    Engine("float64", float64),
    Engine("bfloat16", bfloat16, strict=False),
    Engine("dynamic int8", int8, strict=False),
)


def _in(precision: torch.dtype, predictor: Predictor) -> Ask:
    network: nn.Module = copy.deepcopy(predictor.network).to(precision)
    mean, std = predictor.mean.double(), predictor.std.double()

    def ask(images: Tensor) -> Tensor:
        logits: Tensor = network(((images.double() - mean) / std).to(precision))
        return logits.double().softmax(dim=1)

    return ask


@lru_cache(maxsize=1)
def _protected_onnx(protected: ProtectedNetwork) -> bytes:
    with tempfile.TemporaryDirectory() as folder, quiet():
        export_onnx(protected, Path(folder) / "protected.onnx")
        return (Path(folder) / "protected.onnx").read_bytes()


def _session(model: bytes, threads: int) -> Callable[[dict[str, object]], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(np.asarray(session.run(None, inputs)[0]))
