from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import AllotmentError, GenerationError
from models.fingerprints.activeguard import (
    Allotment,
    Code,
    Codeword,
    Codewords,
    ControlLayer,
    FingerprintOutput,
    generate,
)
from models.fingerprints.activeguard.codewords import compositions, unrank
from models.predictor import predict
from tests.models.conftest import Trained, tiny_predictor

SECRET = b"an owner's secret of 32 bytes..."
TEN = Code.from_band(10)


def drawn(code: Code, count: int, slot: int | None = None) -> list[Codeword]:
    capacity = code.allotment.capacity
    return [code.codeword(SECRET, f"lic_{n}", n % capacity if slot is None else slot) for n in range(count)]


def refused(call: object) -> AllotmentError:
    with pytest.raises(AllotmentError) as caught:
        call()  # type: ignore[operator]
    return caught.value


class TestCompositions:
    @given(parts=st.integers(1, 4), total=st.integers(0, 9), most=st.integers(0, 9))
    def test_unranking_lists_them_all_once(self, parts: int, total: int, most: int) -> None:
        every = [list(c) for c in itertools.product(range(most + 1), repeat=parts) if sum(c) == total]
        assert compositions(parts, total, most) == len(every)
        assert [unrank(rank, parts, total, most) for rank in range(len(every))] == every

    def test_of_nothing_there_is_one_or_none(self) -> None:
        assert [compositions(0, 0, 3), compositions(0, 1, 3), compositions(3, -1, 3), compositions(3, 1, -1)] == [
            1,
            0,
            0,
            0,
        ]


class TestCodeword:
    @settings(deadline=None)
    @given(
        classes=st.sampled_from([2, 3, 10, 43, 1000]),
        epsilon=st.sampled_from([0.002, 0.01, 0.02]),
        data=st.data(),
    )
    def test_it_is_an_answer_with_the_allotted_class_on_top(
        self, classes: int, epsilon: float, data: st.DataObject
    ) -> None:
        code = Code.from_band(classes, epsilon)
        slot = data.draw(st.integers(0, code.allotment.capacity - 1))
        codeword = code.codeword(data.draw(st.binary(min_size=16, max_size=40)), data.draw(st.text()), slot)
        q = list(codeword.probabilities)
        assert len(q) == classes
        assert math.fsum(q) == pytest.approx(1.0, abs=1e-9)
        label, confidence = codeword.output
        assert codeword.output == code.allotment.output(slot)
        assert q[label] == confidence
        others = q[:label] + q[label + 1 :]
        assert min(others) > 0
        assert classes == 2 or max(others) <= confidence - 2 * epsilon + 1e-9

    def test_everything_that_names_it_changes_it_and_nothing_else_does(self) -> None:
        made = [
            TEN.codeword(SECRET, "lic_a", 3),
            TEN.codeword(SECRET, "lic_b", 3),
            TEN.codeword(SECRET, "lic_a", 3, index=1),
            TEN.codeword(SECRET[::-1], "lic_a", 3),
            TEN.codeword(SECRET, "lic_a", 4),
        ]
        assert len({codeword.probabilities for codeword in made}) == 5
        assert TEN.codeword(SECRET, "lic_a", 3) == made[0]

    PINNED = (6, 7, 0, 6, 7, 4, 0, 6, 1)  # shares of classes 1 to 9, in units

    def test_it_is_what_it_was_when_licenses_were_issued(self) -> None:
        """Nothing stores a codeword: a change of this derivation would void every license."""
        codeword = TEN.codeword(SECRET, "lic_pinned", 0)
        shares = [round((q - min(codeword.probabilities)) / 0.02) for q in codeword.probabilities[1:]]
        assert codeword.output == FingerprintOutput(0, 0.2)
        assert shares == list(self.PINNED)

    def test_no_answer_shows_two_codewords_of_one_class_and_confidence(self) -> None:
        q = torch.tensor([codeword.probabilities for codeword in drawn(TEN, 300, slot=5)], dtype=torch.float64)
        apart = (q[:, None] - q).abs().amax(dim=2) + torch.eye(300)
        assert float(apart.min()) > 2 * TEN.epsilon - 1e-9

    def test_all_shares_are_drawn_alike(self) -> None:
        """Exchangeable classes: each of nine carries a ninth of what is shared out, within four standard errors."""
        q = torch.tensor([codeword.probabilities[1:] for codeword in drawn(TEN, 2000, slot=10)])
        error = q.std(dim=0) / math.sqrt(2000)
        assert ((q.mean(dim=0) - q.mean()).abs() < 4 * error).all()

    def test_a_short_secret_is_refused_and_not_repeated(self) -> None:
        error = refused(lambda: TEN.codeword(b"too short", "lic_a", 0))
        assert error.field == "secret"
        assert "too short" not in str(error)
        assert refused(lambda: TEN.codeword(SECRET, "lic_a", TEN.allotment.capacity)).field == "user"


class TestBits:
    def test_a_guess_is_right_once_in_all_compositions(self) -> None:
        """K = 4 by hand: 0.55 beside c = 0.45 is 5 units of 0.1 over three classes, each at most 3: 12 ways."""
        code = Code(Allotment(4, (0.45,), 0.05), epsilon=0.05)
        every = {code.codeword(SECRET, str(n), 0).probabilities for n in range(500)}
        assert len(every) == code.size(0.45) == 12
        assert code.bits() == math.log2(12)

    def test_with_the_slot_unknown_class_and_confidence_count_too(self) -> None:
        code = Code(Allotment(10, (0.3,), 0.01), 0.01)
        assert code.bits(slot_known=False) == pytest.approx(code.bits() + math.log2(10))

    def test_confidences_that_one_answer_fits_are_not_counted_apart(self) -> None:
        sparse, dense = Code(Allotment(2, (0.6, 0.62)), 0.01), Code(Allotment(2, (0.6, 0.61, 0.62, 0.63)), 0.01)
        assert sparse.bits(slot_known=False) == pytest.approx(dense.bits(slot_known=False)) == 2.0

    @pytest.mark.parametrize(
        ("classes", "known", "unknown", "images"),
        [(2, 0, 5, None), (10, 23, 30, 3), (43, 62, 70, 2), (1000, 138, 151, 1)],
    )
    def test_what_one_image_carries_and_how_many_make_64_bits(
        self, classes: int, known: int, unknown: int, images: int | None
    ) -> None:
        code = Code.from_band(classes)
        assert (int(code.bits()), int(code.bits(slot_known=False))) == (known, unknown)
        assert code.images_for(64) == images

    def test_confidences_just_above_flat_are_left_out(self) -> None:
        """At 0.12 the nine others must nearly all have 0.1, which is no secret."""
        assert min(TEN.allotment.confidences) >= 0.2
        assert refused(lambda: Code(Allotment(10, (0.12, 0.3), 0.01))).field == "confidences"

    @pytest.mark.parametrize("epsilon", [0.0, 0.3, "0.01"])
    def test_an_epsilon_that_cannot_be_is_refused(self, epsilon: float) -> None:
        assert refused(lambda: Code(Allotment(10, (0.3,)), epsilon)).field == "epsilon"

    def test_when_no_confidence_is_left_it_says_so(self) -> None:
        assert refused(lambda: Code.within(Allotment(10, (0.11, 0.12), 0.005))).field == "confidences"


class TestAuthenticate:
    TABLE = Codewords(torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]]), epsilon=0.01)

    def test_the_nearest_codeword_names_who_asks(self) -> None:
        p = torch.tensor([[0.2, 0.5, 0.3], [0.495, 0.305, 0.2], [0.4, 0.3, 0.3]])
        found = self.TABLE.authenticate(p)
        assert found.authorized.tolist() == [True, True, False]
        assert found.user.tolist() == [1, 0, -1]
        assert found.error.tolist() == pytest.approx([0.0, 0.005, 0.1], abs=1e-6)

    def test_one_class_that_is_off_is_enough_to_refuse(self) -> None:
        """The top class and its confidence are right: the paper's check takes it."""
        p = torch.tensor([[0.5, 0.28, 0.22]])
        assert not self.TABLE.authenticate(p).authorized.any()
        assert ControlLayer((0.5,), 0.01).authenticate(p).authorized.all()


class TestGenerated:
    def test_fingerprints_of_codewords_are_taken_for_themselves_and_noise_for_nobody(self, digits: Trained) -> None:
        codewords = drawn(TEN, 60)
        images = torch.from_numpy(digits.dataset.calibration.images[:60])
        predictor = digits.predictor
        made = generate(predictor, predictor.input_spec.from_grid(images), codewords)
        table = Codewords.of(codewords, TEN.epsilon)
        assert int(made.solved.sum()) >= 57  # a small network: the rest take another image
        p = predict(predictor, predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
        assert torch.equal(table.authenticate(p).user[made.solved], torch.arange(60)[made.solved])

        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(3000, 1, 28, 28, generator=generator) * torch.rand(3000, 1, 1, 1, generator=generator)
        p = predict(predictor, noise).softmax(dim=1)
        assert not table.authenticate(p).authorized.any()
        paper = ControlLayer(tuple(0.12 + 0.02 * step for step in range(19)), 0.01)  # section 3.1
        assert paper.authenticate(p).authorized.any()

    @pytest.mark.parametrize(
        ("shape", "classes", "hidden", "gain"),
        [
            ((1, 8, 8), 2, 32, 3.0),
            ((3, 6, 6), 3, 32, 3.0),
            ((3, 16, 16), 43, 256, 10.0),
        ],
    )
    def test_few_and_many_classes(self, shape: tuple[int, int, int], classes: int, hidden: int, gain: float) -> None:
        """With many classes the logits are as spread as a trained network's: a codeword leaves most classes nothing."""
        predictor = tiny_predictor(shape, classes, hidden=hidden, gain=gain)
        code = Code.from_band(classes)
        codewords = [code.codeword(SECRET, f"lic_{slot}", slot) for slot in range(3)]
        sources = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
        made = generate(predictor, sources, codewords, entropy=[bytes([n] * 16) for n in range(3)])
        assert made.solved.all()
        p = predict(predictor, predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
        assert Codewords.of(codewords, code.epsilon).authenticate(p).user.tolist() == [0, 1, 2]

    def test_a_codeword_of_another_code_and_a_mixture_are_refused(self) -> None:
        other = Code.from_band(3).codeword(SECRET, "lic_a", 0)
        with pytest.raises(GenerationError, match=r"outputs\[0\]"):
            generate(tiny_predictor(), torch.rand(1, 1, 8, 8), [other])
        mixed = [TEN.codeword(SECRET, "lic_a", 0), FingerprintOutput(0, 0.3)]
        with pytest.raises(GenerationError, match="all codewords"):
            generate(tiny_predictor(), torch.rand(2, 1, 8, 8), mixed)  # type: ignore[arg-type]
