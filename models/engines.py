"""Engines: ways to run one predictor that give the same answers, to within what float32 rounds away, at other speeds.

A built engine takes raw-range float32 (N, C, H, W), any N >= 1, and gives logits float32 (N, K).
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from models.errors import EngineError
from models.predictor import Predictor, scores

Forward = Callable[[Tensor], Tensor]
TOLERANCE = 1e-5  # of scores; a fingerprint's confidence is compared within a hundred times that
ONNX = "onnxruntime"
BATCHES = (1, 32)  # what is timed: somebody alone, and a busy gateway


def eager(predictor: Predictor, _: Tensor) -> Forward:
    """The network as it is."""
    return predictor


def torchscript(predictor: Predictor, examples: Tensor) -> Forward:
    """`torch.jit.optimize_for_inference`: batch normalisation folded into the weights, operations fused."""
    with quiet():
        traced = torch.jit.trace(predictor, examples[:2])  # type: ignore[no-untyped-call]
        frozen: Forward = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    return frozen


def inductor(predictor: Predictor, examples: Tensor) -> Forward:
    """`torch.compile`: needs a C++ compiler, and most of a minute."""
    with quiet(), torch.inference_mode():
        compiled: Forward = torch.compile(predictor, dynamic=True)
        for count in {1, 2, len(examples)}:  # one image is a case of its own
            compiled(examples[:count])
    return compiled


def onnxruntime(predictor: Predictor, examples: Tensor) -> Forward:
    """ONNX Runtime, on one core."""
    return onnx_session(onnx_of(predictor, examples[:2]))


ENGINES: dict[str, Callable[[Predictor, Tensor], Forward]] = {
    "eager": eager,
    "torchscript": torchscript,
    ONNX: onnxruntime,
    "inductor": inductor,
}


def onnx_of(predictor: Predictor, examples: Tensor) -> bytes:
    """A predictor as an ONNX file with input `images` and output `logits`, for any number of images."""
    with quiet():
        program = torch.onnx.export(
            predictor,
            (examples,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("count", min=1)}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def onnx_session(model: bytes) -> Forward:
    """An ONNX file with input `images`, ready to answer."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(np.asarray(session.run(None, {"images": images.numpy()})[0]))


def build(name: str, predictor: Predictor, examples: Tensor) -> Forward:
    """An engine whose answers to raw-range `examples` (N, C, H, W), N >= 2, have been checked.

    Raises:
        EngineError: it cannot be built here, or answers otherwise than the network does.
    """
    try:
        # A copy: some exchange the network's parameters while they look at it, and somebody may be asking it.
        forward = ENGINES[name](copy.deepcopy(predictor), examples)
        check(name, forward, predictor, examples)
    except EngineError:
        raise
    except Exception as error:  # an engine may fail at a foreign network in any way, or not be installed
        raise EngineError(name, f"cannot be built: {type(error).__name__}") from error
    return forward


def check(name: str, forward: Forward, predictor: Predictor, examples: Tensor) -> None:
    """Ask for one image, some and all, and compare the scores with the network's own.

    Raises:
        EngineError: they differ by more than 1e-5.
    """
    for count in sorted({1, 3, len(examples)}):
        asked = examples[:count]
        with torch.inference_mode():
            apart = float((scores(forward(asked)) - scores(predictor(asked))).abs().max())
        if not apart <= TOLERANCE:  # nor where it is no number
            raise EngineError(name, f"its answers are {apart:.1e} from the network's")


def timed(forward: Forward, examples: Tensor) -> float:
    """Seconds that one pass over raw-range (N, C, H, W) takes."""
    with torch.inference_mode():
        began = time.perf_counter()
        forward(examples)
        return time.perf_counter() - began


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of tools that are old and still the fastest, or new and not finished."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
