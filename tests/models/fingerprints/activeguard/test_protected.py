from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.errors import SpecError
from models.fingerprints.activeguard import Allotment, Code, Codewords, ControlLayer, ProtectedNetwork, generate
from models.fingerprints.activeguard.protected import export, export_onnx
from models.predictor import Predictor, predict
from tests.models.conftest import Trained, tiny_predictor

KEY = bytes(16)
CODE = Code.from_band(10)
SEQUENCES = [[CODE.codeword(bytes(32), f"lic_{n}", 7 * n + index, index) for index in range(2)] for n in range(3)]


def made(predictor: Predictor, outputs: list[object]) -> Tensor:
    """Fingerprints as a licensee sends them, raw-range (m, C, H, W)."""
    sources = torch.rand(len(outputs), *predictor.input_spec.shape, generator=torch.Generator().manual_seed(0))
    entropy = [index.to_bytes(16, "big") for index in range(len(outputs))]
    found = generate(predictor, sources, outputs, entropy=entropy)  # type: ignore[arg-type]
    assert found.solved.all()
    return predictor.input_spec.from_grid(found.grid)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return tiny_predictor(hidden=64)


@pytest.fixture(scope="module")
def paper(predictor: Predictor) -> tuple[ProtectedNetwork, Tensor]:
    """With the paper's check, and a fingerprint that passes."""
    allotment = Allotment(10, (0.2, 0.3, 0.4), 0.01)
    control = ControlLayer(allotment.confidences, allotment.epsilon)
    return ProtectedNetwork(predictor, control, key=KEY), made(predictor, [allotment.output(4)])


@pytest.fixture(scope="module")
def coded(predictor: Predictor) -> tuple[ProtectedNetwork, Tensor]:
    """With three registered pairs of codewords, and the second license's pair of fingerprints."""
    control = Codewords.of(SEQUENCES, CODE.epsilon)
    return ProtectedNetwork(predictor, control, key=KEY, length=2), made(predictor, list(SEQUENCES[1]))


@pytest.fixture(scope="module", params=["paper", "coded"])
def either(request: pytest.FixtureRequest) -> tuple[ProtectedNetwork, Tensor]:
    found: tuple[ProtectedNetwork, Tensor] = request.getfixturevalue(request.param)
    return found


IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))


class TestAnswers:
    def test_a_licensee_gets_the_network(self, either: tuple[ProtectedNetwork, Tensor], predictor: Predictor) -> None:
        network, fingerprints = either
        assert torch.equal(network(fingerprints, IMAGES), predictor(IMAGES).softmax(dim=1))

    def test_a_stranger_gets_something_else_and_always_the_same(self, either: tuple[ProtectedNetwork, Tensor]) -> None:
        network, fingerprints = either
        grey, white = torch.full_like(fingerprints, 0.5), torch.ones_like(fingerprints)
        first, second = network(grey, IMAGES), network(white, IMAGES.flip(0)).flip(0)
        assert torch.equal(first, second)
        assert not torch.allclose(first, network(fingerprints, IMAGES), atol=0.01)
        assert torch.allclose(first.sum(dim=1), torch.ones(5))

    def test_fingerprints_in_another_order_or_of_two_licenses_are_a_stranger_s(
        self, coded: tuple[ProtectedNetwork, Tensor], predictor: Predictor
    ) -> None:
        network, fingerprints = coded
        other = made(predictor, list(SEQUENCES[2]))
        assert network.authorized(fingerprints)
        assert network.authorized(other)
        assert not network.authorized(fingerprints.flip(0))
        assert not network.authorized(torch.stack([fingerprints[0], other[1]]))

    def test_a_table_of_pairs_needs_pairs(self, predictor: Predictor) -> None:
        with pytest.raises(SpecError) as caught:
            ProtectedNetwork(predictor, Codewords.of(SEQUENCES, 0.01), key=KEY, length=1)
        assert caught.value.field == "length"


class TestDecoys:
    def test_every_class_is_as_likely_and_the_truth_is_nowhere_in_it(self, digits: Trained) -> None:
        control = ControlLayer((0.2, 0.3, 0.4), 0.01)
        network = ProtectedNetwork(digits.predictor, control, key=KEY)
        split = digits.dataset.train
        images = digits.predictor.input_spec.from_grid(torch.from_numpy(split.images))
        labels = network.decoys(images).argmax(dim=1)
        counts = torch.bincount(labels, minlength=10)
        assert float(((counts - 100) ** 2 / 100).sum()) < 30  # chi square, 9 degrees of freedom: p = 0.0004
        assert abs(float((labels == torch.from_numpy(split.labels)).float().mean()) - 0.1) < 0.03
        assert float(network.decoys(images).amax(dim=1).median()) > 0.9

    def test_another_key_gives_other_answers_and_another_image_too(self, predictor: Predictor) -> None:
        control = ControlLayer((0.2,), 0.01)
        first, second = (ProtectedNetwork(predictor, control, key=key).decoys(IMAGES) for key in (KEY, b"another"))
        assert not torch.allclose(first, second, atol=0.1)
        changed = IMAGES.clone()
        changed[:, 0, 4, 4] += torch.where(changed[:, 0, 4, 4] > 0.5, -1, 1) / 255
        assert not torch.allclose(first, ProtectedNetwork(predictor, control, key=KEY).decoys(changed), atol=0.1)

    def test_what_rounds_to_the_same_8_bit_image_is_the_same_image(self, predictor: Predictor) -> None:
        network = ProtectedNetwork(predictor, ControlLayer((0.2,), 0.01), key=KEY)
        grid = predictor.input_spec.from_grid(predictor.input_spec.to_grid(IMAGES))
        assert torch.equal(network.decoys(IMAGES), network.decoys(grid))


class TestExport:
    def test_the_exported_graph_answers_alike(self, either: tuple[ProtectedNetwork, Tensor]) -> None:
        network, fingerprints = either
        file = io.BytesIO()
        torch.export.save(export(network), file)
        loaded = torch.export.load(io.BytesIO(file.getvalue())).module()
        for shown in (fingerprints, torch.ones_like(fingerprints)):
            for images in (IMAGES, IMAGES[:1]):
                assert torch.allclose(loaded(shown, images), network(shown, images), atol=1e-6)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch and onnx themselves
    def test_the_onnx_file_answers_alike(self, either: tuple[ProtectedNetwork, Tensor], tmp_path: Path) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        network, fingerprints = either
        export_onnx(network, tmp_path / "protected.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "protected.onnx", providers=["CPUExecutionProvider"])
        for shown in (fingerprints, torch.ones_like(fingerprints)):
            for images in (IMAGES, IMAGES[:1]):
                (scores,) = session.run(None, {"fingerprints": shown.numpy(), "images": images.numpy()})
                assert torch.allclose(torch.from_numpy(scores), network(shown, images), atol=1e-5)

    def test_lenet_5_leaves_whole(self, digits: Trained) -> None:
        codeword = CODE.codeword(bytes(32), "lic_0", 3)
        images = digits.predictor.input_spec.from_grid(torch.from_numpy(digits.dataset.test.images[:20]))
        found = generate(digits.predictor, images[:1], [codeword], entropy=[bytes(16)])
        fingerprint = digits.predictor.input_spec.from_grid(found.grid)
        network = ProtectedNetwork(digits.predictor, Codewords.of([codeword], CODE.epsilon), key=KEY)
        loaded = export(network).module()
        expected = predict(digits.predictor, images).softmax(dim=1)
        assert torch.allclose(loaded(fingerprint, images), expected, atol=1e-5)
        assert not torch.allclose(loaded(fingerprint.flip(3), images), expected, atol=0.1)
