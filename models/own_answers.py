"""Training data without labels of one's own: what a network answers to unlabelled inputs, to keep it answering so."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.data import Dataset, Split
from models.data.splits import cut
from models.predictor import Predictor, predict

HELD_OUT = 4  # one input in so many is for choosing the epoch


def own_answers(predictor: Predictor, inputs: Tensor, *, seed: int = 0) -> Dataset:
    """Raw-range inputs (N, C, H, W), rounded to grey levels, with the class that the network gives each.

    Accuracy on it is agreement with the network as it was; nothing is left for a test, which repeats the validation.
    """
    grid = predictor.input_spec.to_grid(inputs).cpu()
    images = predictor.input_spec.from_grid(grid).to(predictor.mean.device)
    labels = predict(predictor, images).argmax(dim=1).cpu().numpy().astype(np.int64)
    held_out = len(grid) // HELD_OUT
    whole = Split(grid.numpy(), labels)
    train, validation = cut(whole, (len(grid) - held_out, held_out), seed)
    return Dataset("own answers", train, validation, whole, validation, predictor.input_spec, predictor.output_spec)
