"""Versions that must be refused, each with the field that is to blame."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.checkpoints import sign_manifest
from service.catalogue.artefacts import Artefact
from tests.service.catalogue import uploads as made
from tests.service.inputs import builders

Files = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Row:
    """One bad upload and the field it must be blamed on."""

    name: str
    field: str
    make: Callable[[Artefact], Files] = field(repr=False)


def says(name: str, blamed: str, /, **changes: Any) -> Row:
    """The manifest says something else."""
    return Row(name, blamed, lambda artefact: made.with_manifest(artefact, **changes))


def reads(name: str, blamed: str, manifest: bytes) -> Row:
    """Other bytes for a manifest."""
    return Row(name, blamed, lambda artefact: made.files(artefact, manifest=manifest))


def weighs(name: str, blamed: str, change: Callable[[made.Tensors], None]) -> Row:
    """Other tensors, under a manifest that speaks of them."""
    return Row(name, blamed, lambda artefact: made.files(made.with_weights(artefact, change)))


def holds(name: str, blamed: str, weights: bytes) -> Row:
    """Other bytes for weights, under a manifest that speaks of them."""
    return Row(name, blamed, lambda artefact: made.files(made.resealed(artefact, weights=weights)))


def shows(name: str, blamed: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Row:
    """Other calibration inputs, under a manifest that speaks of them."""
    return Row(name, blamed, lambda artefact: made.files(made.with_inputs(artefact, change)))


def calibrates(name: str, blamed: str, calibration: bytes) -> Row:
    """Other bytes for a calibration set, under a manifest that speaks of them."""
    return Row(name, blamed, lambda artefact: made.files(made.resealed(artefact, calibration=calibration)))


def header(document: Any, body: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return len(text).to_bytes(8, "little") + text + body


def _signed_by_a_stranger(artefact: Artefact) -> Files:
    manifest = sign_manifest(artefact.manifest, "iss-00000000", Ed25519PrivateKey.generate())
    return made.files(artefact, manifest=manifest.to_bytes())


def _wider(artefact: Artefact, shape: tuple[int, int, int], mode: str) -> Files:
    """Inputs of another shape throughout, but a network that was made for 1 x 28 x 28."""
    sealed = made.with_inputs(artefact, lambda inputs: torch.zeros(len(inputs), *shape, dtype=torch.uint8))
    return made.with_manifest(sealed, input_spec__shape=list(shape), input_spec__mode=mode)


def _swap(tensors: made.Tensors) -> None:
    tensors["fc3.bias"] = tensors["fc3.bias"].double()


def _drop(tensors: made.Tensors) -> None:
    del tensors["conv2.bias"]


def _rename(tensors: made.Tensors) -> None:
    tensors["fc4.bias"] = tensors.pop("fc3.bias")


def _spoil(tensors: made.Tensors) -> None:
    tensors["fc1.weight"][0, 0] = float("nan")


def _overflow(tensors: made.Tensors) -> None:
    for tensor in tensors.values():
        tensor *= 1e25


ROWS = [
    says("a name in capitals", "manifest.name", name="Digits"),
    says("a name that leads elsewhere", "manifest.name", name="../digits"),
    says("a name with a line's end", "manifest.name", name="digits\n"),
    says("no name", "name", name=""),
    says("a name that is no text", "name", name=5),
    says("another format", "format", format=2),
    says("a network nobody registered", "network", network="os:system"),
    says("a network by its file", "network", network="/etc/passwd:x"),
    says("a network's unknown key", "network_config.layers", network_config__layers=3),
    says("a network's key of another type", "network_config.size", network_config__size="28"),
    says("a network without end", "network_config.classes", network_config__classes=10**12),
    says("a network's configuration missing", "network_config", network_config=...),
    says("an unknown field", "license", license="MIT"),
    says("a size the weights do not fit", "weights.fc1.weight", network_config__size=32),
    says("channels the weights do not fit", "weights.conv1.weight", network_config__channels=3),
    Row("a shape the network cannot take", "input_spec.shape", lambda artefact: _wider(artefact, (1, 28, 56), "L")),
    Row("channels the network cannot take", "input_spec.shape", lambda artefact: _wider(artefact, (3, 28, 28), "RGB")),
    says(
        "more classes than the network has",
        "output_spec.classes",
        output_spec__classes=11,
        output_spec__labels=[*"0123456789a"],
    ),
    says("a label too few", "output_spec.labels", output_spec__labels=[*"012345678"]),
    says("a label twice", "output_spec.labels", output_spec__labels=[*"0123456788"]),
    says("a label that is no text", "output_spec.labels[3]", output_spec__labels=[*"012", 3, *"456789"]),
    says("a kind of output nobody knows", "output_spec.kind", output_spec__kind="votes"),
    says("a shape of two sizes", "input_spec.shape", input_spec__shape=[28, 28]),
    says("a shape of nothing", "input_spec.shape", input_spec__shape=[1, 0, 28]),
    says("a shape beyond memory", "input_spec.shape", input_spec__shape=[1, 10**9, 10**9]),
    says("a shape of truth values", "input_spec.shape", input_spec__shape=[True, 28, 28]),
    says("a mode nobody knows", "input_spec.mode", input_spec__mode="CMYK"),
    says("a mode that does not fit", "input_spec.shape", input_spec__mode="RGB"),
    says("a range upside down", "input_spec.value_range", input_spec__value_range=[1, 0]),
    says("a range without end", "input_spec.value_range", input_spec__value_range=[0, 1e300]),
    says("a standard deviation of zero", "input_spec.std", input_spec__std=[0]),
    says("no mean", "input_spec.mean", input_spec__mean=...),
    says("an input spec that is a list", "input_spec.spec", input_spec=[]),
    says("a code nobody knows", "fingerprints.code", fingerprints__code="morse"),
    says("no fingerprint in a license", "fingerprints.longest", fingerprints__longest=0),
    says("more fingerprints than a license file holds", "fingerprints.longest", fingerprints__longest=17),
    says("a confidence without a codeword", "fingerprints.confidences", fingerprints__confidences=[0.101]),
    says("confidences that cannot exist", "fingerprints.confidences", fingerprints__confidences=[0.01]),
    says("confidences too close to each other", "fingerprints.confidences", fingerprints__confidences=[0.2, 0.2005]),
    says("confidences that are texts", "fingerprints.confidences", fingerprints__confidences=["0.2"]),
    says("no confidences at all", "fingerprints.confidences", fingerprints__confidences=[]),
    says("a confidence beyond any float", "fingerprints.confidences", fingerprints__confidences=[10**400]),
    says("a tolerance of one half", "fingerprints.epsilon", fingerprints__epsilon=0.5),
    says("a tolerance of zero", "fingerprints.epsilon", fingerprints__epsilon=0),
    says("a tolerance beyond any float", "fingerprints.epsilon", fingerprints__epsilon=10**400),
    says("a tolerance below what floats can tell apart", "fingerprints.epsilon", fingerprints__epsilon=1e-9),
    says("a metric that is a text", "metrics", metrics={"accuracy": "high"}),
    says("a metric beyond any float", "metrics", metrics={"accuracy": 10**400}),
    says("a metric whose name is no text", "manifest", metrics={"\ud800": 1}),
    says("a date that is none", "created_at", created_at="yesterday"),
    says("a weights digest of another kind", "weights_sha256", weights_sha256="A" * 64),
    says("a weights digest of other weights", "weights_sha256", weights_sha256="0" * 64),
    says("a calibration digest of another set", "calibration_sha256", calibration_sha256="0" * 64),
    says("a signature without a key", "key_id", signature="AAAA"),
    says("a key without a signature", "key_id", key_id="iss-00000000"),
    says("a signature that is a number", "signature", signature=5),
    Row("a signature of somebody else", "key_id", _signed_by_a_stranger),
    reads("no JSON", "manifest", b"{"),
    reads("nothing", "manifest", b""),
    reads("a list", "manifest", b"[]"),
    reads("not UTF-8", "manifest", b"\xff\xfe"),
    reads("nested without end", "manifest", b"[" * 10**5),
    reads("a number of ten thousand digits", "manifest", b'{"format": ' + b"9" * 10**4 + b"}"),
    reads("a pickle for a manifest", "manifest", made.PICKLE),
    Row(
        "white space added",
        "manifest",
        lambda artefact: made.files(artefact, manifest=artefact.manifest.to_bytes() + b"\n"),
    ),
    Row(
        "a key twice",
        "manifest",
        lambda artefact: made.files(
            artefact, manifest=artefact.manifest.to_bytes().replace(b'"format":1', b'"format":1,"format":1')
        ),
    ),
    holds("a pickle", "weights", made.PICKLE),
    holds("what torch.save writes", "weights", made.torch_file()),
    holds("no weights", "weights", b""),
    holds("a header without end", "weights", (2**62).to_bytes(8, "little") + b"{}"),
    holds("a header that is no JSON", "weights", header(b"{]")),
    holds("a header that is a list", "weights", header([])),
    holds(
        "a tensor beyond the file",
        "weights",
        header({"fc3.bias": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}}),
    ),
    holds(
        "a tensor of an unknown type",
        "weights",
        header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    ),
    holds(
        "a tensor of another length than its shape",
        "weights",
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    ),
    holds(
        "a type without a counterpart here",
        "weights",
        header({"fc3.bias": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
    ),
    weighs("a tensor missing", "weights.conv2.bias", _drop),
    weighs("a tensor too many", "weights.extra", lambda tensors: tensors.update(extra=torch.zeros(1))),
    weighs(
        "a tensor of another shape", "weights.fc3.bias", lambda tensors: tensors.update({"fc3.bias": torch.zeros(11)})
    ),
    weighs("a tensor of another type", "weights.fc3.bias", _swap),
    weighs("a tensor under another name", "weights.fc4.bias", _rename),
    weighs("a tensor with NaN", "weights.fc1.weight", _spoil),
    weighs("weights that overflow", "weights", _overflow),
    shows("199 inputs", "calibration.inputs", lambda inputs: inputs[:199]),
    shows("inputs of another shape", "calibration.inputs", lambda inputs: inputs[:, :, 1:]),
    shows("inputs of another type", "calibration.inputs", lambda inputs: inputs.to(torch.int16)),
    shows("inputs with NaN", "calibration.inputs", lambda inputs: inputs.float() / 0 * 0),
    shows("inputs out of range", "calibration.inputs", lambda inputs: inputs.float() + 2),
    calibrates("a pickle for a calibration set", "calibration", made.PICKLE),
    calibrates(
        "inputs under another name",
        "calibration",
        header({"images": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    ),
    calibrates("no inputs", "calibration", header({})),
    Row(
        "weights changed after the manifest was written",
        "weights_sha256",
        lambda artefact: made.files(artefact, weights=artefact.weights[:-1] + b"x"),
    ),
    Row(
        "a calibration set changed after the manifest was written",
        "calibration_sha256",
        lambda artefact: made.files(artefact, calibration=artefact.calibration[:-1] + b"x"),
    ),
    Row(
        "no weights at all",
        "weights",
        lambda artefact: {name: file for name, file in made.files(artefact).items() if name != "weights"},
    ),
    Row("a manifest as text", "manifest", lambda artefact: {**made.files(artefact), "manifest": (None, b"{}")}),
    Row("nothing but a picture", "weights", lambda _: {"manifest": ("m", builders.saved())}),
]
