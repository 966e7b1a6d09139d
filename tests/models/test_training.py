from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.augmentation import Affine, CropAndFlip, augment, random_affine, random_crop_and_flip
from models.checkpoints import encode_weights
from models.data import Dataset, Split
from models.errors import SpecError, WeightsError
from models.specs import InputSpec, OutputSpec
from models.training import EpochReport, TrainingConfig, initialise, one_cycle, presets, train
from tests.models.conftest import Tiny, Trained

CONFIG = TrainingConfig(epochs=4, batch_size=16, seed=7)


def bars() -> Dataset:
    """Four classes: which of four rows is bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (160,), generator=generator)
    images = torch.randint(0, 120, (160, 1, 4, 4), generator=generator, dtype=torch.uint8)
    images[torch.arange(160), 0, labels] += 100
    split = Split(images.numpy(), labels.numpy())
    return Dataset("bars", split, split, split, split, InputSpec(shape=(1, 4, 4)), OutputSpec.numbered(4))


class Killed(Exception):
    pass


def kill_after(epoch: int) -> object:
    def on_epoch(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise Killed

    return on_epoch


class TestTrain:
    def test_it_learns(self) -> None:
        config = replace(CONFIG, epochs=15, learning_rate=0.01, augment=None)
        assert train(Tiny(16, 4), bars(), config).test_accuracy > 0.9

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        first, second, other = Tiny(16, 4), Tiny(16, 4), Tiny(16, 4)
        train(first, bars(), CONFIG)
        torch.manual_seed(99)  # whatever else drew random numbers in between
        train(second, bars(), CONFIG)
        train(other, bars(), replace(CONFIG, seed=8))
        assert encode_weights(first) == encode_weights(second) != encode_weights(other)

    def test_dropout_is_seeded_too_and_the_global_generator_left_alone(self) -> None:
        networks = [nn.Sequential(nn.Dropout(0.3), Tiny(16, 4)) for _ in range(2)]
        before = torch.random.get_rng_state()
        for network in networks:
            train(network, bars(), CONFIG)
        assert encode_weights(networks[0]) == encode_weights(networks[1])
        assert torch.equal(before, torch.random.get_rng_state())

    def test_the_best_epoch_s_weights_are_kept(self) -> None:
        report = train(Tiny(16, 4), bars(), CONFIG)
        assert len(report.accuracies) == 4
        assert report.validation_accuracy == max(report.accuracies) == report.accuracies[report.best_epoch - 1]
        assert report.test_accuracy == report.validation_accuracy  # the same images here

    def test_progress_counts_to_the_end(self) -> None:
        batches: list[tuple[int, int]] = []
        epochs: list[int] = []
        train(
            Tiny(16, 4),
            bars(),
            CONFIG,
            on_batch=lambda done, total: batches.append((done, total)),
            on_epoch=lambda report: epochs.append(report.epoch),
        )
        assert batches == [(done, 40) for done in range(1, 41)]
        assert epochs == [1, 2, 3, 4]

    def test_fine_tuning_starts_from_the_network_s_own_weights(self) -> None:
        network = Tiny(16, 4)
        initialise(network, 3)
        start = encode_weights(network)
        train(network, bars(), replace(CONFIG, epochs=1, learning_rate=0.0, weight_decay=0.0, fresh=False))
        assert encode_weights(network) == start

    def test_in_bfloat16_it_learns_too_and_keeps_float32_weights(self) -> None:
        config = replace(CONFIG, epochs=15, learning_rate=0.01, augment=None)
        half, full = Tiny(16, 4), Tiny(16, 4)
        assert train(half, bars(), config, precision=torch.bfloat16).test_accuracy > 0.9
        train(full, bars(), config)
        assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float32}
        assert encode_weights(half) != encode_weights(full)


@dataclass(frozen=True)
class Shrink:
    """Weights to zero, as hard as `strength` says."""

    strength: float

    @property
    def description(self) -> str:
        return f"shrink {self.strength}"

    def __call__(self, network: nn.Module) -> Tensor:
        return self.strength * sum((p.square().sum() for p in network.parameters()), torch.zeros(()))


class TestRegularizer:
    def test_it_is_part_of_the_loss(self) -> None:
        free, shrunk = Tiny(16, 4), Tiny(16, 4)
        losses: list[float] = []
        train(free, bars(), CONFIG)
        train(shrunk, bars(), CONFIG, regularizer=Shrink(10.0), on_epoch=lambda report: losses.append(report.loss))
        assert float(shrunk.hidden.weight.detach().norm()) < 0.9 * float(free.hidden.weight.detach().norm())
        assert losses[0] > 10

    def test_none_and_one_of_no_strength_train_alike(self) -> None:
        free, idle = Tiny(16, 4), Tiny(16, 4)
        train(free, bars(), CONFIG)
        train(idle, bars(), CONFIG, regularizer=Shrink(0.0))
        assert encode_weights(free) == encode_weights(idle)

    def test_a_checkpoint_of_another_regularizer_is_refused(self, tmp_path: Path) -> None:
        train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run", regularizer=Shrink(1.0))
        for other in (None, Shrink(2.0)):
            with pytest.raises(WeightsError, match="another run"):
                train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run", regularizer=other)

    def test_a_killed_run_with_one_ends_with_the_weights_of_one_that_was_not(self, tmp_path: Path) -> None:
        whole, killed, resumed = Tiny(16, 4), Tiny(16, 4), Tiny(16, 4)
        term, path = Shrink(0.01), tmp_path / "run"
        train(whole, bars(), CONFIG, regularizer=term)
        with pytest.raises(Killed):
            train(killed, bars(), CONFIG, checkpoint=path, on_epoch=kill_after(2), regularizer=term)  # type: ignore[arg-type]
        train(resumed, bars(), CONFIG, checkpoint=path, regularizer=term)
        assert encode_weights(resumed) == encode_weights(whole)


class TestKeep:
    def test_the_last_epoch_s_weights_are_kept_when_asked_for(self) -> None:
        best, last = Tiny(16, 4), Tiny(16, 4)
        wild = replace(CONFIG, epochs=3, learning_rate=30.0, augment=None)  # so high that it gets worse
        kept = train(best, bars(), wild)
        left = train(last, bars(), wild, keep="last")
        assert kept.best_epoch < left.best_epoch == 3
        assert left.validation_accuracy == left.accuracies[-1] == left.test_accuracy
        assert encode_weights(best) != encode_weights(last)


class TestResume:
    @pytest.mark.parametrize("epoch", [1, 3, 4])
    def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(self, tmp_path: Path, epoch: int) -> None:
        whole, killed, resumed = Tiny(16, 4), Tiny(16, 4), Tiny(16, 4)
        expected = train(whole, bars(), CONFIG)
        with pytest.raises(Killed):
            train(killed, bars(), CONFIG, checkpoint=tmp_path / "run", on_epoch=kill_after(epoch))  # type: ignore[arg-type]
        assert train(resumed, bars(), CONFIG, checkpoint=tmp_path / "run") == expected
        assert encode_weights(resumed) == encode_weights(whole)

    def test_another_run_s_checkpoint_is_refused(self, tmp_path: Path) -> None:
        train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run")
        for network, config in ((Tiny(16, 4), replace(CONFIG, seed=8)), (Tiny(16, 4, hidden=5), CONFIG)):
            with pytest.raises(WeightsError) as caught:
                train(network, bars(), config, checkpoint=tmp_path / "run")
            assert caught.value.field == "checkpoint"

    def test_another_precision_is_another_run(self, tmp_path: Path) -> None:
        train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run")
        with pytest.raises(WeightsError, match="another run"):
            train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run", precision=torch.bfloat16)

    def test_a_broken_checkpoint_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_bytes(b"half a file")
        with pytest.raises(WeightsError, match="not a training checkpoint"):
            train(Tiny(16, 4), bars(), CONFIG, checkpoint=tmp_path / "run")


class TestPresets:
    def test_the_digits_are_learnt(self, digits: Trained) -> None:
        assert digits.report.test_accuracy >= 0.96

    def test_mnist_is_trained_for_at_most_twenty_epochs(self) -> None:
        assert presets("mnist").epochs <= 20

    def test_another_name_is_refused(self) -> None:
        with pytest.raises(SpecError, match="digits, faces, gtsrb, mnist"):
            presets("imagenet")


class TestAugmentation:
    def test_nothing_allowed_changes_nothing(self) -> None:
        images = torch.rand(3, 2, 9, 9)
        still = random_affine(images, torch.Generator().manual_seed(0), Affine(0, 0, 0, 0))
        assert torch.allclose(still, images, atol=1e-5)

    def test_each_image_moves_its_own_way_and_stays_in_range(self) -> None:
        images = torch.zeros(2, 1, 28, 28)
        images[:, :, 8:20, 12:16] = 1
        moved = random_affine(images, torch.Generator().manual_seed(0), Affine())
        assert not torch.equal(moved[0], moved[1])
        assert 0 <= float(moved.min()) <= float(moved.max()) <= 1.0001
        assert torch.allclose(moved.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)), rtol=0.3)


class TestCropAndFlip:
    IMAGES = torch.arange(400, dtype=torch.float32).reshape(100, 1, 1, 4).expand(100, 2, 5, 4)  # columns tell apart

    def test_without_padding_an_image_is_itself_or_its_mirror_image(self) -> None:
        moved = random_crop_and_flip(self.IMAGES, torch.Generator().manual_seed(0), CropAndFlip(padding=0))
        same = (moved == self.IMAGES).flatten(1).all(dim=1)
        mirrored = (moved == self.IMAGES.flip(3)).flatten(1).all(dim=1)
        assert (same | mirrored).all()
        assert 30 < int(same.sum()) < 70

    def test_every_pixel_comes_from_within_the_padding(self) -> None:
        """A ramp down the rows: each shift moves all rows alike, by at most the padding."""
        images = torch.arange(12, dtype=torch.float32)[:, None].expand(50, 1, 12, 12)
        moved = random_crop_and_flip(images, torch.Generator().manual_seed(0), CropAndFlip(padding=2))
        shifts = (moved - images)[:, 0, 4:8].flatten(1)
        assert set(shifts.flatten().tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
        assert (shifts == shifts[:, :1]).all()

    def test_training_takes_either_kind(self) -> None:
        images = torch.rand(2, 3, 8, 8)
        for limits in (Affine(), CropAndFlip(2)):
            assert augment(images, torch.Generator().manual_seed(0), limits).shape == images.shape


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [one_cycle(step / 100, 1.0, 0.25) for step in range(100)]
    assert max(rates) == rates[25] == 1.0
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[0] == pytest.approx(0.04)
    assert rates[99] < 0.001
