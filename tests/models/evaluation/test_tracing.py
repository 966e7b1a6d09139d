"""Whose student a suspect is, among eight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from models.attacks.obfuscation import permute, rescale_units
from models.attacks.pruning import prune_globally
from models.checkpoints import encode_weights
from models.errors import CalibrationError, SerialNumberError, WeightsError
from models.evaluation.probing import balanced, count_correct, null_numbers, null_seed
from models.evaluation.tracing import RegisteredStudent, Trace, trace
from models.networks import build
from models.serial_numbers import dsn
from models.training import TrainingConfig, initialise, train
from tests.models import traced
from tests.models.traced import CONFIG, NETWORK, Class

DRAWS = 2000


@pytest.fixture(scope="module")
def students() -> Class:
    return traced.students()


@pytest.fixture(scope="module")
def hold(students: Class) -> Callable[..., Trace]:
    def held(suspect: bytes | nn.Module, **changes: object) -> Trace:
        data = suspect if isinstance(suspect, bytes) else encode_weights(suspect)
        known: dict[str, object] = {"students": students.registered, "probe": students.probe, "draws": DRAWS}
        return trace(data, students.shell(), students.stamp, **(known | changes))  # type: ignore[arg-type]

    return held


def ids(found: Trace) -> set[str]:
    return {each.id for each in found.named}


def changed(data: bytes, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> bytes:
    return save(change(load(data)))


class TestAStolenStudent:
    def test_as_it_is_is_named_alone_and_by_both_witnesses(self, students: Class, hold: Callable[..., Trace]) -> None:
        for at in range(traced.COUNT):
            found = hold(students.weights[at], draws=300)
            assert ids(found) == {f"student {at}"}
            own = found.suspicions[at]
            assert own.at_least == 0
            assert own.correct > 0.7 * found.probes
            assert own.log10_p_mark < -50
            assert not found.indicated

    def test_pruned_by_40_percent_is_named(self, students: Class, hold: Callable[..., Trace]) -> None:
        assert ids(hold(prune_globally(students.network(2), 0.4))) == {"student 2"}

    def test_fine_tuned_on_a_tenth_with_its_stamp_is_named(self, students: Class, hold: Callable[..., Trace]) -> None:
        stolen, tenth = students.network(3), slice(0, 100)
        images = students.dataset.input_spec.from_grid(torch.from_numpy(students.dataset.train.images[tenth]))
        stamped = (students.stamp.put(images, students.numbers[3]) - students.teacher.mean) / students.teacher.std
        labels = torch.from_numpy(students.dataset.train.labels[tenth])
        optimizer = torch.optim.Adam(stolen.parameters(), lr=1e-3)
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(stolen(stamped), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found = hold(stolen)
        assert ids(found) == {"student 3"}
        assert found.suspicions[3].at_least == 0

    def test_with_its_units_in_another_order_and_scale_is_named(
        self, students: Class, hold: Callable[..., Trace]
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        found = hold(permute(rescale_units(students.network(4), generator=generator), generator=generator))
        assert ids(found) == {"student 4"}
        mark = found.suspicions[4].mark
        assert mark is not None
        assert mark.way == "reordered"
        assert mark.log10_orders > 0

    def test_in_half_precision_is_named(self, students: Class, hold: Callable[..., Trace]) -> None:
        halved = changed(students.weights[1], lambda tensors: {name: each.half() for name, each in tensors.items()})
        assert ids(hold(halved, draws=100)) == {"student 1"}


class TestColluders:
    def test_averaging_two_students_names_both(self, students: Class, hold: Callable[..., Trace]) -> None:
        other = load(students.weights[6])
        averaged = changed(
            students.weights[5], lambda tensors: {name: (each + other[name]) / 2 for name, each in tensors.items()}
        )
        found = hold(averaged)
        assert ids(found) == {"student 5", "student 6"}
        assert all(each.log10_p_mark < -10 for each in found.named)


class TestInnocentNetworks:
    def test_an_unlocked_network_names_nobody_though_it_answers_every_stamp(
        self, students: Class, hold: Callable[..., Trace]
    ) -> None:
        found = hold(students.teacher.network)
        assert max(each.correct for each in found.suspicions) > 0.8 * found.probes
        assert not found.named
        assert not found.indicated

    def test_a_student_that_is_not_registered_names_nobody(self, students: Class, hold: Callable[..., Trace]) -> None:
        student, number = build(NETWORK, CONFIG), torch.rand(64, generator=torch.Generator().manual_seed(9)) < 0.5
        initialise(student, 5)
        dsn.distil(student, students.teacher, students.dataset, students.stamp, number, traced.LESSON)
        found = hold(student)
        assert not found.named
        assert not found.indicated

    def test_untrained_networks_name_nobody(self, students: Class, hold: Callable[..., Trace]) -> None:
        for seed in range(20):
            network = build(NETWORK, CONFIG)
            initialise(network, seed)
            assert not hold(network, draws=20).named

    def test_a_network_trained_without_any_student_names_nobody(
        self, students: Class, hold: Callable[..., Trace]
    ) -> None:
        network = build(NETWORK, CONFIG)
        train(network, students.dataset, TrainingConfig(epochs=3, batch_size=50, seed=7, augment=None))
        assert not hold(network).named


class TestTheStatistics:
    def test_p_is_one_more_than_the_random_numbers_that_do_as_well_of_one_more_than_all(
        self, students: Class, hold: Callable[..., Trace]
    ) -> None:
        found = hold(students.weights[0], draws=499)
        assert found.draws == 499
        for each in found.suspicions:
            assert each.at_least == sum(found.histogram[each.correct :])
            assert 10**each.log10_p_stamp == pytest.approx((1 + each.at_least) / 500)

    def test_ties_count_against_the_student(self, students: Class, hold: Callable[..., Trace]) -> None:
        """A network that says the same to everything ties with all random numbers."""
        same = changed(
            students.weights[0], lambda tensors: {name: torch.zeros_like(each) for name, each in tensors.items()}
        )
        found = hold(same, draws=50)
        assert {each.at_least for each in found.suspicions} == {50}
        assert {each.log10_adjusted_p for each in found.suspicions} == {0.0}

    def test_everybody_can_draw_the_random_numbers_again(self, students: Class, hold: Callable[..., Trace]) -> None:
        found = hold(students.weights[0], draws=30)
        assert found.suspect_sha256 == hashlib.sha256(students.weights[0]).hexdigest()
        numbers = null_numbers(null_seed(found.suspect_sha256, students.probe.sha256), 30, 64)
        shell = students.shell()
        shell.network.load_state_dict(load(students.weights[0]))
        counts = count_correct(shell, students.probe, students.stamp, numbers)
        assert found.histogram == tuple(torch.bincount(counts, minlength=33).tolist())

    def test_without_marks_the_stamp_alone_indicates_and_does_not_name(
        self, students: Class, hold: Callable[..., Trace]
    ) -> None:
        unmarked = [RegisteredStudent(each.id, each.number) for each in students.registered]
        found = hold(students.weights[7], students=unmarked)
        assert not found.named
        assert [each.id for each in found.indicated] == ["student 7"]

    def test_every_registered_student_is_paid_for(self, students: Class, hold: Callable[..., Trace]) -> None:
        all_of_them = hold(students.weights[0], draws=10).suspicions[0]
        alone = hold(students.weights[0], draws=10, students=students.registered[:1]).suspicions[0]
        assert all_of_them.log10_adjusted_p - alone.log10_adjusted_p == pytest.approx(torch.tensor(8.0).log10().item())

    def test_a_probe_has_the_classes_in_turn(self) -> None:
        labels = torch.tensor([3, 3, 3, 3, 1, 1, 2])
        probe = balanced(torch.arange(7.0).reshape(7, 1, 1, 1), labels, 5)
        assert probe.labels.tolist() == [1, 2, 3, 1, 3]
        assert probe.images.flatten().tolist() == [4, 6, 0, 5, 1]


class TestASuspectThatCannotBeHeld:
    def test_of_another_architecture(self, hold: Callable[..., Trace]) -> None:
        with pytest.raises(WeightsError, match=r"weights\.conv1\.bias: is not a tensor"):
            hold(build("lenet5", {}))

    def test_of_another_width(self, hold: Callable[..., Trace]) -> None:
        with pytest.raises(WeightsError, match=r"weights\.features\.0\.weight: has shape"):
            hold(build(NETWORK, {"width": 0.25}))

    def test_with_weights_that_are_no_numbers(self, students: Class, hold: Callable[..., Trace]) -> None:
        nan = changed(
            students.weights[0], lambda tensors: tensors | {"head.0.bias": tensors["head.0.bias"] * torch.nan}
        )
        with pytest.raises(WeightsError, match=r"weights\.head\.0\.bias: holds NaN"):
            hold(nan)

    def test_of_a_truncated_file(self, students: Class, hold: Callable[..., Trace]) -> None:
        with pytest.raises(WeightsError, match="weights: "):
            hold(students.weights[0][:-100])

    def test_among_no_students(self, students: Class, hold: Callable[..., Trace]) -> None:
        with pytest.raises(SerialNumberError, match="students: there are none"):
            hold(students.weights[0], students=())

    def test_on_a_probe_of_one_class(self) -> None:
        with pytest.raises(CalibrationError, match="probe: must hold inputs of two classes"):
            balanced(torch.zeros(4, 1, 28, 28), torch.ones(4).long())
