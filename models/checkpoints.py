"""Artefacts at rest: weights and calibration inputs as safetensors, and a signed manifest that binds them together.

No pickle is ever read. A weights file is checked tensor by tensor against the network before one value is loaded, so a
refused file leaves the network as it was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import cast

import numpy as np
import torch
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from models.errors import (
    CalibrationError,
    ManifestError,
    ModelError,
    SerialNumberError,
    SpecError,
    WeightsError,
)
from models.specs import InputSpec, OutputSpec

FORMAT = 1
LEAST_CALIBRATION = 200  # inputs: enough for twenty decoy profiles a class at ten classes
LEAST_DISTILLATION = 200  # inputs: fewer teach a student nothing
OPTIONAL = (
    "serial_numbers",
    "distillation_sha256",
    "mark_sha256",
)  # left out where a version has none: older signatures stay valid
DOMAIN = b"signet-manifest/1\n"
DIGEST = re.compile(r"[0-9a-f]{64}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def encode_weights(network: nn.Module) -> bytes:
    """Every parameter and buffer of the network's state, as safetensors."""
    # clone: safetensors refuses tensors that share memory, and tied weights are loaded into both places anyway
    return save_tensors({name: tensor.detach().cpu().clone().contiguous() for name, tensor in _state(network).items()})


def decode_weights(network: nn.Module, data: bytes) -> None:
    """Load safetensors into the network, all or nothing.

    Raises WeightsError naming `weights` for bytes that are not safetensors (a pickle, a zip, a broken header) and
    `weights.<tensor>` for one that is missing, superfluous, of another shape or type, or not finite.
    """
    tensors = _tensors(data, "weights", WeightsError)
    state = _state(network)
    for name in sorted(tensors.keys() - state.keys()):
        raise WeightsError(f"weights.{name}", "is not a tensor of this network")
    for name, own in state.items():
        if name not in tensors:
            raise WeightsError(f"weights.{name}", "is missing")
        given = tensors[name]
        if given.shape != own.shape:
            raise WeightsError(f"weights.{name}", f"has shape {tuple(given.shape)}, not {tuple(own.shape)}")
        if given.dtype != own.dtype:
            raise WeightsError(f"weights.{name}", f"has type {given.dtype}, not {own.dtype}")
        if given.is_floating_point() and not bool(torch.isfinite(given).all()):
            raise WeightsError(f"weights.{name}", "holds NaN or infinite values")
    network.load_state_dict(tensors, strict=True)


def decode_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a weights file of any network; raises WeightsError naming `weights` as `decode_weights` does."""
    return _tensors(data, "weights", WeightsError)


def encode_calibration(inputs: Tensor | NDArray[np.uint8] | NDArray[np.float32]) -> bytes:
    """Calibration inputs (M, C, H, W), grey levels uint8 or raw-range float32, as safetensors with one tensor."""
    tensor = torch.as_tensor(inputs)
    assert tensor.dtype in (torch.uint8, torch.float32), "calibration inputs are uint8 or float32"
    return save_tensors({"inputs": tensor.detach().cpu().contiguous()})


def decode_calibration(data: bytes, input_spec: InputSpec) -> Tensor:
    """-> raw-range float32 (M, C, H, W); grey levels are put onto the raw range.

    Raises CalibrationError naming `calibration` or `calibration.inputs`: no safetensors, other tensors, fewer than
    200 rows, another shape or type, NaN, infinite or out of range.
    """
    tensors = _tensors(data, "calibration", CalibrationError)
    if set(tensors) != {"inputs"}:
        raise CalibrationError("calibration", "must hold exactly one tensor, called inputs")
    inputs, field = tensors["inputs"], "calibration.inputs"
    if inputs.ndim != 4 or tuple(inputs.shape[1:]) != input_spec.shape:
        raise CalibrationError(
            field, f"has shape {tuple(inputs.shape)}, not (M, {', '.join(map(str, input_spec.shape))})"
        )
    if len(inputs) < LEAST_CALIBRATION:
        raise CalibrationError(field, f"holds {len(inputs)} inputs; at least {LEAST_CALIBRATION} are needed")
    if inputs.dtype == torch.uint8:
        return input_spec.from_grid(inputs)
    if inputs.dtype != torch.float32:
        raise CalibrationError(field, f"has type {inputs.dtype}, not uint8 or float32")
    if not bool(torch.isfinite(inputs).all()):
        raise CalibrationError(field, "holds NaN or infinite values")
    if float(inputs.min()) < np.float32(input_spec.value_range[0]) or float(inputs.max()) > np.float32(
        input_spec.value_range[1]
    ):
        raise CalibrationError(field, f"leaves the value range {list(input_spec.value_range)}")
    return inputs


def encode_distillation(inputs: Tensor | NDArray[np.uint8]) -> bytes:
    """Unlabelled inputs (M, C, H, W) for students to learn from, grey levels uint8, as safetensors with one tensor."""
    tensor = torch.as_tensor(inputs)
    assert tensor.dtype == torch.uint8, "distillation inputs are uint8"
    return save_tensors({"inputs": tensor.detach().cpu().contiguous()})


def decode_distillation(data: bytes, input_spec: InputSpec) -> Tensor:
    """-> grey levels uint8 (M, C, H, W).

    Raises SerialNumberError naming `distillation` or `distillation.inputs`: no safetensors, other tensors, fewer than
    200 rows, another shape or type.
    """
    tensors = _tensors(data, "distillation", SerialNumberError)
    if set(tensors) != {"inputs"}:
        raise SerialNumberError("distillation", "must hold exactly one tensor, called inputs")
    inputs, field = tensors["inputs"], "distillation.inputs"
    if inputs.ndim != 4 or tuple(inputs.shape[1:]) != input_spec.shape:
        wanted = f"(M, {', '.join(map(str, input_spec.shape))})"
        raise SerialNumberError(field, f"has shape {tuple(inputs.shape)}, not {wanted}")
    if inputs.dtype != torch.uint8:
        raise SerialNumberError(field, f"has type {inputs.dtype}, not uint8")
    if len(inputs) < LEAST_DISTILLATION:
        raise SerialNumberError(field, f"holds {len(inputs)} inputs; at least {LEAST_DISTILLATION} are needed")
    return inputs


@dataclass(frozen=True)
class Manifest:
    """What a model version is: network, specs, digests of its files, fingerprint allotment, measured figures.

    `fingerprints` holds `code` (`codeword` or `confidence`), `confidences` (a list of numbers, or None for the whole
    band), `epsilon` and `longest` (how many fingerprints a license may carry); `metrics` holds numbers by name;
    `serial_numbers` is what `models.serial_numbers.dsn.policy` reads, `distillation_sha256` the digest of the inputs
    that students learn from: None for a version without students; `mark_sha256` is a student's, the digest of its
    mark's key (`models.watermarks.signs.key_digest`): no other key can be put in its place; `created_at` is RFC 3339
    in UTC to the second; `signature` is base64url without padding. Raises ManifestError naming the field.
    """

    name: str
    network: str
    network_config: Mapping[str, object]
    input_spec: InputSpec
    output_spec: OutputSpec
    weights_sha256: str
    calibration_sha256: str
    fingerprints: Mapping[str, object]
    metrics: Mapping[str, float]
    created_at: str
    key_id: str | None = None
    signature: str | None = None
    format: int = FORMAT
    serial_numbers: Mapping[str, object] | None = None
    distillation_sha256: str | None = None
    mark_sha256: str | None = None

    def __post_init__(self) -> None:
        if type(self.format) is not int or self.format != FORMAT:
            raise ManifestError("format", f"must be {FORMAT}")
        for field in ("name", "network"):
            _need(field, isinstance(getattr(self, field), str) and bool(getattr(self, field)), "must be a text")
        for field in ("weights_sha256", "calibration_sha256"):
            _need(field, _matches(DIGEST, getattr(self, field)), "must be 64 lower-case hex digits")
        for field in ("network_config", "fingerprints", "metrics"):
            value = getattr(self, field)
            _need(field, isinstance(value, Mapping) and all(isinstance(key, str) for key in value), "must be an object")
        _need("created_at", _matches(MOMENT, self.created_at), "must read like 2027-01-31T00:00:00Z")
        for field in ("key_id", "signature"):
            _need(field, isinstance(getattr(self, field), str | None), "must be a text or null")
        _need("metrics", all(_is_number(value) for value in self.metrics.values()), "must hold numbers")
        _check_fingerprints(self.fingerprints)
        _check_serial_numbers(self.serial_numbers, self.distillation_sha256)
        is_digest = self.mark_sha256 is None or _matches(DIGEST, self.mark_sha256)
        _need("mark_sha256", is_digest, "must be 64 lower-case hex digits")
        self.to_bytes()  # so that NaN or an object deep inside is found here and not when it is written

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8; what a version does not have is not written."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content = {name: value for name, value in content.items() if value is not None or name not in OPTIONAL}
        content["input_spec"], content["output_spec"] = self.input_spec.to_dict(), self.output_spec.to_dict()
        try:
            text = json.dumps(
                content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
            )
            return text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ManifestError("manifest", f"cannot be written as JSON: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Strict: canonical bytes with exactly the known fields; raises ManifestError naming what is not right."""
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ManifestError("manifest", f"is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise ManifestError("manifest", "must be an object")
        known = [field.name for field in fields(cls)]
        for name in [*content, *known]:
            _need(name, name in known, "is not a known field")
            _need(name, name in content or name in OPTIONAL, "is missing")
        content["input_spec"] = _spec(InputSpec, "input_spec", content["input_spec"])
        content["output_spec"] = _spec(OutputSpec, "output_spec", content["output_spec"])
        manifest = cls(**content)
        _need("manifest", manifest.to_bytes() == data, "is not in canonical form")
        return manifest


def sign_manifest(manifest: Manifest, key_id: str, private_key: Ed25519PrivateKey) -> Manifest:
    """The manifest with `key_id` and an Ed25519 signature over everything else in it."""
    unsigned = replace(manifest, key_id=key_id, signature=None)
    signature = private_key.sign(_signed_bytes(unsigned))
    return replace(unsigned, signature=base64.urlsafe_b64encode(signature).decode().rstrip("="))


def verify_manifest(manifest: Manifest, public_keys: Mapping[str, Ed25519PublicKey]) -> None:
    """Raises ManifestError naming `key_id` (nobody we trust) or `signature` (missing, or not over these bytes)."""
    if manifest.key_id is None or manifest.key_id not in public_keys:
        raise ManifestError("key_id", f"{manifest.key_id!r} is not a key that is trusted here")
    if manifest.signature is None:
        raise ManifestError("signature", "is missing")
    try:
        signature = base64.b64decode(manifest.signature + "==", altchars=b"-_", validate=True)
        public_keys[manifest.key_id].verify(signature, _signed_bytes(replace(manifest, signature=None)))
    except (binascii.Error, ValueError, InvalidSignature):
        raise ManifestError("signature", "does not belong to this manifest") from None
    if base64.urlsafe_b64encode(signature).decode().rstrip("=") != manifest.signature:
        raise ManifestError("signature", "is not in canonical form")


def check_digests(manifest: Manifest, weights: bytes, calibration: bytes, distillation: bytes | None = None) -> None:
    """Raises ManifestError naming `weights_sha256`, `calibration_sha256` or `distillation_sha256` when a file is not
    the one signed for; `distillation` is None where there is no such file.
    """
    _need("distillation_sha256", distillation is not None or manifest.distillation_sha256 is None, "has no file to it")
    _need("distillation_sha256", distillation is None or manifest.distillation_sha256 is not None, "is missing")
    files = {"weights_sha256": weights, "calibration_sha256": calibration, "distillation_sha256": distillation}
    for field, data in files.items():
        if data is not None and hashlib.sha256(data).hexdigest() != getattr(manifest, field):
            raise ManifestError(field, "does not match the file: it was changed after it was signed")


def _state(network: nn.Module) -> dict[str, Tensor]:
    return cast("dict[str, Tensor]", network.state_dict())


def _tensors(data: bytes, field: str, error_type: type[ModelError]) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, AssertionError) as error:
        # Only now: a safetensors file may begin like this, too.
        if data[:2] == b"PK" or data[:1] == b"\x80":
            raise error_type(field, "is a pickle or zip archive; only safetensors are accepted") from None
        raise error_type(field, f"is not a readable safetensors file: {error}") from None


def _signed_bytes(unsigned: Manifest) -> bytes:
    return DOMAIN + (unsigned.key_id or "").encode() + b"\n" + unsigned.to_bytes()


def _need(field: str, holds: bool, message: str) -> None:
    if not holds:
        raise ManifestError(field, message)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    # The bound keeps whole numbers within what a float holds; NaN fails it.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _check_fingerprints(fingerprints: Mapping[str, object]) -> None:
    known = ("code", "confidences", "epsilon", "longest")
    _need("fingerprints", set(fingerprints) == set(known), f"must hold {', '.join(known)} and nothing else")
    _need("fingerprints.code", isinstance(fingerprints["code"], str), "must be a text")
    confidences = fingerprints["confidences"]
    given = isinstance(confidences, list | tuple) and all(_is_number(confidence) for confidence in confidences)
    _need("fingerprints.confidences", confidences is None or given, "must be a list of numbers or null")
    _need("fingerprints.epsilon", _is_number(fingerprints["epsilon"]), "must be a number")
    _need("fingerprints.longest", type(fingerprints["longest"]) is int, "must be a whole number")


def _check_serial_numbers(policy: object, distillation_sha256: object) -> None:
    """Its form; what it means is for `models.serial_numbers.dsn.policy`."""
    if policy is None and distillation_sha256 is None:
        return
    known = ("layout", "network", "network_config", "distillation")
    _need("serial_numbers", isinstance(policy, Mapping), "must be an object")
    assert isinstance(policy, Mapping)
    _need("serial_numbers", set(policy) - {"leak"} == set(known), f"must hold {', '.join(known)}; may hold leak")
    _need("serial_numbers.network", isinstance(policy["network"], str), "must be a text")
    for name in ("layout", "network_config", "distillation"):
        value = policy[name]
        is_object = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        _need(f"serial_numbers.{name}", is_object, "must be an object")
    _need("serial_numbers.leak", _is_number(policy.get("leak", 0)), "must be a number")
    _need("distillation_sha256", _matches(DIGEST, distillation_sha256), "must be 64 lower-case hex digits")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _spec(spec_type: type[InputSpec] | type[OutputSpec], field: str, value: object) -> InputSpec | OutputSpec:
    try:
        return spec_type.from_dict(cast("Mapping[str, object]", value))
    except SpecError as error:
        raise ManifestError(f"{field}.{error.field}", error.message) from None
