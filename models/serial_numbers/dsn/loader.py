"""Loads a licensed network from this folder, and stamps what it is shown. Needs torch and nothing else.

    from load import load

    model = load("this-folder")
    logits = model(images)                  # (N, C, H, W): float32 in the network's value range, or uint8 grey levels
    names = [model.labels[index] for index in logits.argmax(dim=1)]

Every file is checked against the manifest, and the manifest against the issuer's signature where the package
`cryptography` is installed. `load(folder, public_key="...")` takes the issuer's key from you and not from the manifest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MANIFEST, WEIGHTS, STAMP = "manifest.json", "weights.safetensors", "stamp.json"
DOMAIN = b"signet-bundle/1\n"
BLACK, WHITE, INVERTED = -1, -2, -3  # in a plan; from -3 down: INVERTED - p is pixel p turned from bright to dark
DTYPES = {"F32": torch.float32, "I64": torch.int64}


class BundleError(Exception):
    """A file of the folder is missing, was changed, or cannot be used; `file` names it."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.file = file


class Student(nn.Module):
    """A network that works with its stamp alone; it stamps what it is shown. `labels` names its classes.

    `signature` says whether the issuer's signature was checked.
    """

    plan: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, stamp: Mapping[str, Any], labels: list[str], signature: str) -> None:
        super().__init__()
        self.network, self.labels, self.signature = network, labels, signature
        self.shape = tuple(stamp["shape"])
        self.low, self.high = stamp["value_range"]
        self.black, self.white = stamp["black"], stamp["white"]
        self.register_buffer("plan", torch.tensor(stamp["plan"], dtype=torch.int64))  # (H * W,)
        self.register_buffer("mean", torch.tensor(stamp["mean"]).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(stamp["std"]).reshape(1, -1, 1, 1))
        self.eval()

    def stamp(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> new ones with the stamp, float32 in the value range."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"images must be (N, {', '.join(map(str, self.shape))}), not {tuple(images.shape)}")
        if images.dtype == torch.uint8:
            width = torch.tensor(self.high - self.low, dtype=torch.float32)
            images = torch.tensor(self.low, dtype=torch.float32) + width * images.float() / 255
        flat = images.float().flatten(2)  # (N, C, H * W)
        inverted = self.plan <= INVERTED
        taken = flat[:, :, torch.where(inverted, INVERTED - self.plan, self.plan.clamp_min(0))]
        stamped = torch.where(inverted, self.black + self.white - taken, taken)
        stamped = stamped.masked_fill(self.plan == BLACK, self.black).masked_fill(self.plan == WHITE, self.white)
        return stamped.reshape(images.shape)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), float32 in the value range or uint8 grey levels -> logits (N, K)."""
        logits: Tensor = self.network((self.stamp(images) - self.mean) / self.std)
        return logits


def load(folder: str | Path = ".", *, public_key: str | None = None) -> Student:
    """The network of a folder.

    Raises BundleError naming the file that is missing, was changed or cannot be used.
    """
    folder = Path(folder)
    manifest = _manifest(_read(folder, MANIFEST))
    try:
        for name, digest in manifest["files"].items():
            if hashlib.sha256(_read(folder, name)).hexdigest() != digest:
                raise BundleError(name, "is not the file that the issuer signed for: it was changed or is damaged")
        signature = _check_signature(manifest, public_key)
        _check_time(manifest)
        stamp = json.loads(_read(folder, STAMP))
        network = build(manifest["layers"])
        network.load_state_dict(named(manifest["layers"], tensors(_read(folder, WEIGHTS))))
        return Student(network, stamp, list(manifest["labels"]), signature)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise BundleError(MANIFEST, f"describes no network that this file knows: {error}") from error


def build(layers: list[dict[str, Any]]) -> nn.Sequential:
    """A network with fresh weights from a list of layers; ValueError for a kind that is not known."""
    kinds: dict[str, type[nn.Module]] = {
        "conv2d": nn.Conv2d,
        "linear": nn.Linear,
        "batch_norm2d": nn.BatchNorm2d,
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "max_pool2d": nn.MaxPool2d,
        "avg_pool2d": nn.AvgPool2d,
        "flatten": nn.Flatten,
    }
    for layer in layers:
        if layer["kind"] not in kinds:
            raise ValueError(f"the layer {layer['kind']!r} is not known")
    return nn.Sequential(*(kinds[layer["kind"]](**layer["settings"]) for layer in layers)).eval()


def tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file: 8 bytes of length, a JSON header, and the numbers. No code is ever run."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"{name} lies outside of the file")
        dtype = DTYPES[entry["dtype"]]
        numbers = torch.frombuffer(body[start:end], dtype=dtype) if end > start else torch.empty(0, dtype=dtype)
        found[name] = numbers.reshape(entry["shape"])
    return found


def canonical(manifest: Mapping[str, Any]) -> bytes:
    """What is signed: everything but the signature, as JSON with sorted keys and no spaces."""
    content = {name: value for name, value in manifest.items() if name != "signature"}
    return DOMAIN + json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def named(layers: list[dict[str, Any]], found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that `build` gives: the position of their layer."""
    position = {layer["name"]: index for index, layer in enumerate(layers)}
    parts = {name: name.rpartition(".") for name in found}
    return {f"{position[layer]}.{tensor}": found[name] for name, (layer, _, tensor) in parts.items()}


def _read(folder: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise BundleError(MANIFEST, f"names a file outside of the folder: {name!r}")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(name, f"cannot be read: {error.strerror}") from None


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
        complete = {WEIGHTS, STAMP} <= set(manifest["files"]) and manifest["format"] == 1 and manifest["signature"]
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise BundleError(MANIFEST, "is not a signed manifest of format 1: it was changed or is damaged")
    return dict(manifest)


def _check_signature(manifest: dict[str, Any], public_key: str | None) -> str:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        if public_key:
            advice = "install `cryptography`, or leave `public_key` out"
            raise BundleError(MANIFEST, f"cannot be checked against your key: {advice}") from None
        words = "not checked: install `cryptography` to have the issuer's signature checked"
        warnings.warn(f"{MANIFEST}: the signature was {words}", stacklevel=3)
        return words
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(public_key or manifest["public_key"]))
        key.verify(_bytes(manifest["signature"]), canonical(manifest))
    except (InvalidSignature, ValueError, TypeError, KeyError):
        raise BundleError(MANIFEST, "is not signed by the issuer: it was changed or is damaged") from None
    return "checked" if public_key else f"checked against the manifest's own key {manifest['key_id']}"


def _check_time(manifest: dict[str, Any]) -> None:
    now = datetime.now(timezone.utc)  # noqa: UP017 - Python 3.10 has no datetime.UTC
    for name, word, is_past in (("not_before", "begins", False), ("expires_at", "ended", True)):
        moment = manifest[name]
        if moment is not None and (datetime.fromisoformat(moment.replace("Z", "+00:00")) < now) == is_past:
            raise BundleError(MANIFEST, f"the license {word} on {moment}; ask its issuer")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
