"""What a network makes of a few labelled inputs under many serial numbers: the registered ones, and random ones.

The random numbers come from a digest of the suspect and of the probe by SHAKE-256. So everybody can draw them again,
the accuser cannot choose them, and who made the suspect could not know them: another weight, other numbers.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from models.errors import CalibrationError
from models.predictor import Predictor, predict
from models.serial_numbers.dsn import Stamp
from models.specs import InputSpec

PROBES = 32  # inputs: 10,000 stamps on them take a minute or so with the paper's network for MNIST
_AT_ONCE = 64  # images a batch: what fits a CPU's cache is fastest
OnStamps = Callable[[int, int], None]


@dataclass(frozen=True)
class Probe:
    """Raw-range images (P, C, H, W) and the label each should get, int64 (P,)."""

    images: Tensor
    labels: Tensor

    @property
    def sha256(self) -> str:
        """Of the images as little-endian float32, then the labels as int64."""
        content = self.images.numpy().astype("<f4").tobytes() + self.labels.numpy().astype("<i8").tobytes()
        return hashlib.sha256(content).hexdigest()


def balanced(images: Tensor, labels: Tensor, size: int = PROBES) -> Probe:
    """`size` of the images, the classes in turn, so that a constant answer is right by chance only.

    Raises CalibrationError naming `probe` when there are none, or all have one label.
    """
    classes = sorted(set(labels.tolist()))
    if len(classes) < 2:
        raise CalibrationError("probe", "must hold inputs of two classes at least")
    turn = torch.zeros_like(labels)
    for label in classes:
        of_class = labels == label
        turn[of_class] = torch.arange(int(of_class.sum()))
    chosen = torch.from_numpy(np.lexsort((labels.numpy(), turn.numpy()))[:size].copy())
    return Probe(images[chosen], labels[chosen])


def labelled_by(teacher: Predictor, images: Tensor, size: int = PROBES) -> Probe:
    """`balanced`, with the labels that a network gives."""
    return balanced(images, predict(teacher, images).argmax(dim=1), size)


def decode_probe(data: bytes, input_spec: InputSpec, classes: int) -> tuple[Tensor, Tensor | None]:
    """An uploaded probe: safetensors with `inputs` (M, C, H, W) as in a calibration set, perhaps `labels` int64 (M,).

    Raises CalibrationError naming `probe`, `probe.inputs` or `probe.labels`.
    """
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise CalibrationError("probe", f"is not safetensors: {error}") from None
    inputs, labels = tensors.get("inputs"), tensors.get("labels")
    if inputs is None or set(tensors) - {"inputs", "labels"}:
        raise CalibrationError("probe", "must hold a tensor called inputs, perhaps one called labels, and no other")
    if inputs.ndim != 4 or tuple(inputs.shape[1:]) != input_spec.shape or not len(inputs):
        wanted = f"(M, {', '.join(map(str, input_spec.shape))})"
        raise CalibrationError("probe.inputs", f"has shape {tuple(inputs.shape)}, not {wanted}")
    if inputs.dtype not in (torch.uint8, torch.float32):
        raise CalibrationError("probe.inputs", f"has type {inputs.dtype}, not uint8 or float32")
    if inputs.dtype == torch.uint8:
        inputs = input_spec.from_grid(inputs)
    low, high = (float(input_spec.levels[at]) for at in (0, -1))
    if not bool(((inputs >= low) & (inputs <= high)).all()):
        raise CalibrationError("probe.inputs", f"leaves the value range {list(input_spec.value_range)}")
    if labels is not None and (labels.dtype != torch.int64 or tuple(labels.shape) != (len(inputs),)):
        raise CalibrationError("probe.labels", f"must be int64 of shape ({len(inputs)},)")
    if labels is not None and not bool(((labels >= 0) & (labels < classes)).all()):
        raise CalibrationError("probe.labels", f"must be from 0 to {classes - 1}")
    return inputs, labels


def null_seed(suspect_sha256: str, probe_sha256: str) -> bytes:
    """What the random numbers are drawn from, 32 bytes."""
    return hashlib.sha256(
        b"signet/trace-null/1\0" + bytes.fromhex(suspect_sha256) + bytes.fromhex(probe_sha256)
    ).digest()


def null_numbers(seed: bytes, draws: int, bits: int) -> Tensor:
    """Random numbers, bool (draws, bits): each from so many whole bytes of SHAKE-256, the highest bit first."""
    width = -(-bits // 8)
    stream = np.frombuffer(hashlib.shake_256(seed).digest(draws * width), dtype=np.uint8).reshape(draws, width)
    return torch.from_numpy(np.unpackbits(stream, axis=1)[:, :bits].astype(np.bool_))


def count_correct(
    suspect: Predictor, probe: Probe, stamp: Stamp, numbers: Tensor, on_stamps: OnStamps | None = None
) -> Tensor:
    """How many of the probe's images get their label under each number (M, n): int64 (M,).

    Every number on every image: a walk that stopped early would have to be paid for.
    """
    network = copy.deepcopy(suspect)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # nearly twice as fast on a CPU
    size = len(probe.labels)
    device, at_once, counts = suspect.mean.device, max(1, _AT_ONCE // size), []
    images, labels = probe.images.to(device), probe.labels.to(device)
    with torch.inference_mode():
        for group in torch.split(numbers, at_once):
            stamped = stamp.put(images.repeat(len(group), 1, 1, 1), group.to(device).repeat_interleave(size, dim=0))
            found = network(stamped.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
            counts.append((found.reshape(len(group), size) == labels).sum(dim=1).cpu())
            if on_stamps is not None:
                on_stamps(len(counts), -(-len(numbers) // at_once))
    return torch.cat(counts)
