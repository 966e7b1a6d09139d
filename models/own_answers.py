"""A data set made of unlabelled images and what the network itself says to them: for whoever has no labels at hand."""

from __future__ import annotations

from torch import Tensor

from models.data import Dataset, Split
from models.data.splits import cut
from models.errors import CalibrationError
from models.predictor import Predictor, predict

LEAST = 200


def label(predictor: Predictor, images: Tensor, *, seed: int = 0) -> Dataset:
    """Raw-range float32 (M, C, H, W) with the network's arg max as labels: three fifths to train on, the rest held out.

    Accuracy on it is agreement with the network as it is now. The images are put onto the 8-bit grid. Raises
    CalibrationError naming `calibration` for fewer than 200.
    """
    if len(images) < LEAST:
        raise CalibrationError("calibration", f"holds {len(images)} images; at least {LEAST} are needed to train on")
    grid = predictor.input_spec.to_grid(images)
    labels = predict(predictor, predictor.input_spec.from_grid(grid)).argmax(dim=1)
    whole = Split(grid.cpu().numpy(), labels.cpu().numpy())
    held = len(images) // 5
    train, validation, test = cut(whole, (len(images) - 2 * held, held, held), seed)
    return Dataset("own answers", train, validation, test, test, predictor.input_spec, predictor.output_spec)
