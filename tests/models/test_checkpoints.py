from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from models.checkpoints import (
    Manifest,
    check_digests,
    decode_calibration,
    decode_weights,
    encode_calibration,
    encode_distillation,
    encode_weights,
    sign_manifest,
    verify_manifest,
)
from models.errors import CalibrationError, ManifestError, WeightsError
from models.networks import build
from models.specs import InputSpec, OutputSpec
from tests.models.conftest import Tiny

FINGERPRINTS = {"code": "codeword", "confidences": [0.2, 0.3, 0.4], "epsilon": 0.001, "longest": 4}

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TRUST = {"owner-1": KEY.public_key()}
WEIGHTS = encode_weights(Tiny(4, 3))


class TestWeights:
    def test_what_was_written_is_read(self) -> None:
        trained, empty = build("lenet5", {}), build("lenet5", {})
        decode_weights(empty, encode_weights(trained))
        for name, tensor in trained.state_dict().items():
            assert torch.equal(tensor, empty.state_dict()[name])

    def test_the_bytes_are_a_function_of_the_weights(self) -> None:
        network = Tiny(4, 3)
        assert encode_weights(network) == encode_weights(network)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"out.bias": None}, "weights.out.bias"),
            ({"extra": torch.zeros(1)}, "weights.extra"),
            ({"out.bias": torch.zeros(4)}, "weights.out.bias"),
            ({"out.bias": torch.zeros(3, dtype=torch.float64)}, "weights.out.bias"),
            ({"out.bias": torch.tensor([0.0, float("nan"), 0.0])}, "weights.out.bias"),
            ({"hidden.weight": torch.full((32, 4), float("inf"))}, "weights.hidden.weight"),
        ],
    )
    def test_the_tensor_that_does_not_fit_is_named_and_nothing_is_loaded(
        self, change: dict[str, torch.Tensor | None], field: str
    ) -> None:
        network = Tiny(4, 3)
        before = encode_weights(network)
        tensors = {name: torch.ones_like(tensor) for name, tensor in network.state_dict().items()} | change
        with pytest.raises(WeightsError) as caught:
            decode_weights(network, save({name: tensor for name, tensor in tensors.items() if tensor is not None}))
        assert caught.value.field == field
        assert encode_weights(network) == before

    def test_a_pickle_is_refused_unread(self) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return pytest.fail, ("the pickle was run",)

        archive = io.BytesIO()
        torch.save({"a": torch.zeros(1)}, archive)
        for data in (pickle.dumps(Trap()), archive.getvalue()):
            with pytest.raises(WeightsError, match="pickle or zip"):
                decode_weights(Tiny(4, 3), data)

    @given(data=st.binary(max_size=200))
    def test_any_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(WeightsError):
            decode_weights(Tiny(4, 3), data)

    @given(cut=st.integers(0, len(WEIGHTS) - 1))
    def test_a_truncated_file_is_refused(self, cut: int) -> None:
        with pytest.raises(WeightsError):
            decode_weights(Tiny(4, 3), WEIGHTS[:cut])


class TestCalibration:
    SPEC = InputSpec(shape=(1, 4, 4), value_range=(-1.0, 1.0))

    def test_grey_levels_are_put_onto_the_raw_range(self) -> None:
        grid = np.random.default_rng(0).integers(0, 256, (200, 1, 4, 4), dtype=np.uint8)
        inputs = decode_calibration(encode_calibration(grid), self.SPEC)
        assert torch.equal(inputs, torch.from_numpy(self.SPEC.from_grid(grid)))

    def test_raw_values_stay_as_they_are(self) -> None:
        values = torch.rand(200, 1, 4, 4) * 2 - 1
        assert torch.equal(decode_calibration(encode_calibration(values), self.SPEC), values)

    @pytest.mark.parametrize(
        ("inputs", "reason"),
        [
            (torch.zeros(199, 1, 4, 4), "at least 200"),
            (torch.zeros(200, 1, 4, 5), "shape"),
            (torch.zeros(200, 16), "shape"),
            (torch.full((200, 1, 4, 4), float("nan")), "NaN"),
            (torch.full((200, 1, 4, 4), 1.01), "range"),
            (torch.zeros(200, 1, 4, 4, dtype=torch.float64), "type"),
        ],
    )
    def test_a_set_that_will_not_do_is_refused_with_the_reason(self, inputs: torch.Tensor, reason: str) -> None:
        with pytest.raises(CalibrationError, match=reason) as caught:
            decode_calibration(save({"inputs": inputs}), self.SPEC)
        assert caught.value.field == "calibration.inputs"

    def test_other_tensors_are_refused(self) -> None:
        with pytest.raises(CalibrationError, match="exactly one"):
            decode_calibration(save({"images": torch.zeros(200, 1, 4, 4)}), self.SPEC)

    @given(data=st.binary(max_size=100))
    def test_any_other_bytes_are_refused(self, data: bytes) -> None:
        with pytest.raises(CalibrationError):
            decode_calibration(data, self.SPEC)


def manifest(**changes: object) -> Manifest:
    content: dict[str, object] = {
        "name": "digits",
        "network": "lenet5",
        "network_config": {"classes": 10},
        "input_spec": InputSpec(),
        "output_spec": OutputSpec.numbered(10),
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(),
        "calibration_sha256": hashlib.sha256(b"calibration").hexdigest(),
        "fingerprints": FINGERPRINTS,
        "metrics": {"test_accuracy": 0.99},
        "created_at": "2027-01-31T00:00:00Z",
    }
    return Manifest(**(content | changes))  # type: ignore[arg-type]


SIGNED = sign_manifest(manifest(), "owner-1", KEY).to_bytes()


class TestManifest:
    def test_signed_written_read_and_verified(self) -> None:
        read = Manifest.from_bytes(SIGNED)
        verify_manifest(read, TRUST)
        assert read == sign_manifest(manifest(), "owner-1", KEY)

    @given(position=st.integers(0, len(SIGNED) - 1), value=st.integers(0, 255))
    def test_no_byte_can_be_changed(self, position: int, value: int) -> None:
        changed = SIGNED[:position] + bytes([value]) + SIGNED[position + 1 :]
        if changed == SIGNED:
            return
        with pytest.raises(ManifestError):
            verify_manifest(Manifest.from_bytes(changed), TRUST)

    @pytest.mark.parametrize("data", [SIGNED + b"\n", b" " + SIGNED, json.dumps(json.loads(SIGNED)).encode()])
    def test_only_the_canonical_form_is_read(self, data: bytes) -> None:
        with pytest.raises(ManifestError, match="canonical"):
            Manifest.from_bytes(data)

    @pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"format":1}'])
    def test_anything_else_is_refused(self, data: bytes) -> None:
        with pytest.raises(ManifestError):
            Manifest.from_bytes(data)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("format", 2),
            ("format", True),
            ("name", ""),
            ("weights_sha256", "ab"),
            ("weights_sha256", "A" * 64),
            ("network_config", []),
            ("network_config", {"size": object()}),
            ("metrics", {"accuracy": "high"}),
            ("created_at", "yesterday"),
            ("signature", 5),
            ("fingerprints", {}),
            ("fingerprints.code", FINGERPRINTS | {"code": None}),
            ("fingerprints.confidences", FINGERPRINTS | {"confidences": ["a"]}),
            ("fingerprints.epsilon", FINGERPRINTS | {"epsilon": None}),
            ("fingerprints.longest", FINGERPRINTS | {"longest": 1.5}),
        ],
    )
    def test_a_wrong_value_is_named(self, field: str, value: object) -> None:
        with pytest.raises(ManifestError) as caught:
            manifest(**{field.split(".")[0]: value})
        assert caught.value.field in (field, "manifest")

    def test_a_wrong_spec_is_named_down_to_its_field(self) -> None:
        content = json.loads(SIGNED)
        content["input_spec"]["std"] = [0.0]
        data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(ManifestError) as caught:
            Manifest.from_bytes(data)
        assert caught.value.field == "input_spec.std"

    def test_a_stranger_s_key_does_not_count(self) -> None:
        other = sign_manifest(manifest(), "mallory", KEY)
        with pytest.raises(ManifestError) as caught:
            verify_manifest(other, TRUST)
        assert caught.value.field == "key_id"

    def test_an_unsigned_or_relabelled_manifest_does_not_pass(self) -> None:
        unsigned = replace(manifest(), key_id="owner-1")
        other_key = sign_manifest(manifest(), "owner-1", Ed25519PrivateKey.generate())
        for forged in (unsigned, other_key, replace(unsigned, signature="!!"), replace(unsigned, signature="é")):
            with pytest.raises(ManifestError) as caught:
                verify_manifest(forged, TRUST)
            assert caught.value.field == "signature"

    def test_the_files_must_be_the_ones_signed_for(self) -> None:
        check_digests(manifest(), b"weights", b"calibration")
        with pytest.raises(ManifestError) as caught:
            check_digests(manifest(), b"weights", b"calibratioN")
        assert caught.value.field == "calibration_sha256"


POLICY = {"layout": {"bits": 64}, "network": "dsn_mnist", "network_config": {}, "distillation": {"epochs": 2}}
SETS = {"serial_numbers": POLICY, "distillation_sha256": "0" * 64}


class TestSerialNumbersInAManifest:
    def test_a_version_without_them_is_written_as_it_always_was(self) -> None:
        content = json.loads(manifest().to_bytes())
        assert "serial_numbers" not in content
        assert "distillation_sha256" not in content
        assert Manifest.from_bytes(manifest().to_bytes()) == manifest()

    def test_they_are_read_back_and_signed_for(self) -> None:
        signed = sign_manifest(manifest(**SETS), "owner-1", KEY)
        assert Manifest.from_bytes(signed.to_bytes()).serial_numbers == POLICY
        verify_manifest(signed, TRUST)
        with pytest.raises(ManifestError):
            verify_manifest(replace(signed, distillation_sha256="1" * 64), TRUST)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"serial_numbers": None}, "serial_numbers"),
            ({"distillation_sha256": None}, "distillation_sha256"),
            ({"distillation_sha256": "0"}, "distillation_sha256"),
            ({"serial_numbers": {**POLICY, "extra": 1}}, "serial_numbers"),
            ({"serial_numbers": {**POLICY, "network": 1}}, "serial_numbers.network"),
            ({"serial_numbers": {**POLICY, "layout": []}}, "serial_numbers.layout"),
        ],
    )
    def test_what_is_not_right_is_named(self, changes: dict[str, object], field: str) -> None:
        with pytest.raises(ManifestError) as caught:
            manifest(**{**SETS, **changes})
        assert caught.value.field == field

    def test_the_file_must_be_the_one_that_was_signed_for(self) -> None:
        inputs = encode_distillation(np.zeros((200, 1, 2, 2), dtype=np.uint8))
        digests = {
            "weights_sha256": hashlib.sha256(b"w").hexdigest(),
            "calibration_sha256": hashlib.sha256(b"c").hexdigest(),
        }
        whole = manifest(**digests, **{**SETS, "distillation_sha256": hashlib.sha256(inputs).hexdigest()})
        check_digests(whole, b"w", b"c", inputs)
        for other in (None, inputs + b" "):
            with pytest.raises(ManifestError) as caught:
                check_digests(whole, b"w", b"c", other)
            assert caught.value.field == "distillation_sha256"
        with pytest.raises(ManifestError):
            check_digests(manifest(**digests), b"w", b"c", inputs)
