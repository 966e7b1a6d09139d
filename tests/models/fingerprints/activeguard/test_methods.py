"""One contract for all generators; what is said of each one's equations stands below it."""

from __future__ import annotations

import pytest
import torch

from models.errors import GenerationError
from models.fingerprints.activeguard import (
    Adam,
    Allotment,
    CarliniWagner,
    Code,
    FingerprintOutput,
    GaussNewton,
    GenerationSettings,
    Method,
    generate,
)
from models.fingerprints.activeguard.gauss_newton import linearise
from models.fingerprints.activeguard.method import Best, from_unit
from models.fingerprints.activeguard.targets import (
    CodewordTargets,
    OutputTargets,
    Targets,
    steered_log_probabilities,
)
from models.predictor import Predictor, predict
from tests.models.conftest import Trained, tiny_predictor

PAPER = Allotment(10, (0.2, 0.3, 0.4))
METHODS = {
    "gauss-newton": GaussNewton(),
    "adam": Adam(steps=200, step_size=0.05),
    "carlini-wagner": CarliniWagner(steps=300, step_size=0.1),
}
ONE_TRY = GenerationSettings(attempts=1)

each = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def entropy(count: int) -> list[bytes]:
    return [index.to_bytes(16, "big") for index in range(count)]


def calibration(trained: Trained, count: int) -> torch.Tensor:
    return trained.dataset.input_spec.from_grid(torch.from_numpy(trained.dataset.calibration.images[:count]))


def searched(
    predictor: Predictor, method: Method, targets: Targets, unit: torch.Tensor, tolerance: float = 1e-4
) -> torch.Tensor:
    """The network's answers (N, K) to what the search gives, before any rounding."""
    found = method.search(predictor, unit, targets, tolerance)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    return predict(predictor, from_unit(predictor, found)).softmax(dim=1)


@each
class TestEveryMethod:
    def test_what_it_solves_is_solved_as_8_bit_images(self, method: Method, digits: Trained) -> None:
        outputs = [PAPER.output(user) for user in range(30)]
        sources = calibration(digits, 30)
        made = generate(digits.predictor, sources, outputs, method=method, entropy=entropy(30), settings=ONE_TRY)
        p = predict(digits.predictor, digits.predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
        confidence, label = p.max(dim=1)
        wanted = torch.tensor(outputs)
        right = (label == wanted[:, 0]) & ((confidence - wanted[:, 1]).abs() <= 1e-4)
        assert torch.equal(made.solved, right & made.solved)
        assert int(made.solved.sum()) >= 6

    def test_it_comes_nearer_to_codewords_than_the_images_were(self, method: Method) -> None:
        code, predictor = Code.from_band(10), tiny_predictor(hidden=64)
        codewords = [code.codeword(bytes(16), f"lic_{slot}", slot) for slot in range(8)]
        sources = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        before = predict(predictor, sources).softmax(dim=1)
        wanted = torch.tensor([codeword.probabilities for codeword in codewords])
        made = generate(predictor, sources, codewords, method=method, entropy=entropy(8), settings=ONE_TRY)
        assert float(made.error.median()) < float((before - wanted).abs().amax(dim=1).median()) / 2

    def test_more_steps_leave_no_image_worse(self, method: Method) -> None:
        predictor = tiny_predictor()
        targets = OutputTargets(torch.arange(8), torch.full((8,), 0.3))
        unit = torch.rand(8, 64, generator=torch.Generator().manual_seed(1))
        settings = {"steps": 3} if isinstance(method, GaussNewton) else {"steps": 30}
        short = searched(predictor, type(method)(**settings), targets, unit)
        long = searched(predictor, type(method)(**{"steps": 10 * settings["steps"]}), targets, unit)
        missed = [targets.error(p) + (p.argmax(dim=1) != targets.labels) for p in (long, short)]
        assert float((missed[0] - missed[1]).max()) < 1e-3


class TestBest:
    def test_t_on_top_comes_first_then_the_error_and_a_worse_iterate_changes_nothing(self) -> None:
        targets = OutputTargets(torch.tensor([0]), torch.tensor([0.4]))
        best, row = Best(torch.zeros(1, 1)), torch.tensor([0])
        answers = [(0.1, [0.4, 0.6]), (0.2, [0.7, 0.3]), (0.3, [0.41, 0.3]), (0.4, [0.45, 0.3]), (0.5, [0.4, 0.6])]
        kept = []
        for pixel, p in answers:
            best.offer(row, torch.tensor([[pixel]]), torch.tensor([p]), targets)
            kept.append(round(float(best.unit), 1))
        assert kept == [0.1, 0.2, 0.3, 0.3, 0.3]


class TestLinear:
    """The Jacobians against autograd's own."""

    @pytest.mark.parametrize("confidence", [0.4, 0.12])
    def test_they_are_those_of_the_ratios_to_p_t_and_of_log_p(self, confidence: float) -> None:
        predictor = tiny_predictor()
        unit = torch.rand(1, 64, generator=torch.Generator().manual_seed(2))
        targets = OutputTargets(torch.tensor([3]), torch.tensor([confidence]))
        linear = linearise(predictor, unit, targets)

        def log_p(pixels: torch.Tensor) -> torch.Tensor:
            answer = predictor(from_unit(predictor, pixels)).log_softmax(dim=1)
            return steered_log_probabilities(answer, linear.active)[0]

        expected = torch.autograd.functional.jacobian(log_p, unit)[:, 0]  # (A, D)
        assert linear.active[0, 0] == 3
        assert torch.allclose(linear.steered[0], log_p(unit))
        assert torch.allclose(linear.of_log_p()[0], expected, atol=1e-5)
        assert torch.allclose(linear.jacobian[0], expected[1:] - expected[:1], atol=1e-5)


class TestGaussNewton:
    def test_images_that_are_done_between_two_steps_do_not_disturb_the_others(self) -> None:
        """A Jacobian serves two steps, and those that the first one brought home are no longer in the second."""
        code, predictor = Code.from_band(10), tiny_predictor(hidden=64)
        words = [code.codeword(bytes(16), f"lic_{slot}", slot).probabilities for slot in range(12)]
        targets = CodewordTargets(torch.tensor(words))
        unit = torch.rand(12, 64, generator=torch.Generator().manual_seed(0))
        together = GaussNewton().search(predictor, unit, targets, 1e-3)
        for row in range(12):
            alone = GaussNewton().search(predictor, unit[row : row + 1], targets.take(torch.tensor([row])), 1e-3)
            assert torch.allclose(together[row], alone[0], atol=1e-3)


class TestCarliniWagner:
    """Equations (2) and (3) on numbers worked out by hand."""

    LOGITS = torch.tensor([[1.0, 3.0, 0.0], [2.0, 0.5, 0.0]])
    TARGETS = OutputTargets(torch.tensor([0, 0]), torch.tensor([0.3, 0.4]))

    def test_the_confidence_is_a_probability(self) -> None:
        p = self.LOGITS.softmax(dim=1)[:, 0]
        expected = torch.tensor([3.0 - 1.0, 0.0]) + (p - self.TARGETS.confidence).abs()
        assert torch.allclose(CarliniWagner().objective(self.LOGITS, self.TARGETS), expected)

    def test_as_printed_it_is_a_logit(self) -> None:
        expected = torch.tensor([2.0 + abs(1.0 - 0.3), abs(2.0 - 0.4)])
        assert torch.allclose(CarliniWagner(confidence="logit").objective(self.LOGITS, self.TARGETS), expected)

    def test_as_printed_it_is_fulfilled_by_answers_with_another_confidence(self) -> None:
        """Z_t = 0.3 and every other logit far below: certain of t, and nothing left to minimize."""
        logits = torch.tensor([[0.3, -9.0, -9.0]])
        targets = OutputTargets(torch.tensor([0]), torch.tensor([0.3]))
        assert float(CarliniWagner(confidence="logit").objective(logits, targets)) == 0.0
        assert float(CarliniWagner().objective(logits, targets)) > 0.6

    def test_as_printed_it_knows_no_codewords(self) -> None:
        targets = CodewordTargets(torch.tensor([[0.5, 0.3, 0.2]]))
        with pytest.raises(GenerationError) as caught:
            CarliniWagner(confidence="logit").objective(self.LOGITS[:1], targets)
        assert caught.value.field == "method"

    def test_a_large_alpha_leaves_the_image_sooner(self) -> None:
        predictor = tiny_predictor()
        unit = torch.full((4, 64), 0.5)
        targets = OutputTargets(torch.arange(4), torch.full((4,), 0.4))
        moved = [
            float((CarliniWagner(steps=100, alpha=alpha).search(predictor, unit, targets, 1e-4) - unit).norm())
            for alpha in (0.001, 100.0)
        ]
        assert moved[0] < moved[1] / 2


def test_gauss_newton_needs_no_restart_where_first_order_methods_do(digits: Trained) -> None:
    outputs = [FingerprintOutput(label, 0.2) for label in range(10)] * 2
    sources = calibration(digits, 20)
    solved = {
        name: int(
            generate(
                digits.predictor, sources, outputs, method=method, entropy=entropy(20), settings=ONE_TRY
            ).solved.sum()
        )
        for name, method in METHODS.items()
    }
    assert solved["gauss-newton"] >= 18
    assert solved["gauss-newton"] > solved["carlini-wagner"]
