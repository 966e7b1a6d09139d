"""GTSRB: Stallkamp et al., "Man vs. computer", Neural Networks 32, 2012; German traffic signs in 43 classes.

Under `gtsrb/gtsrb_32x32.npz`, whole pictures scaled to 32x32. A track is a run of video frames of one physical sign.
The file has every third frame of the 1,307 training tracks, 13,069 of 39,209 images, and all 12,630 test images: what
is trained on it saw a third of the frames that published accuracies rest on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from models.data.files import archive, folder, member
from models.data.splits import Dataset, Split
from models.specs import InputSpec, OutputSpec

FILE = "gtsrb_32x32.npz"
COUNTS = (13_069, 12_630)  # training, test
LABELS = (
    "speed limit 20",
    "speed limit 30",
    "speed limit 50",
    "speed limit 60",
    "speed limit 70",
    "speed limit 80",
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no passing",
    "no passing for vehicles over 3.5 t",
    "right of way at the next intersection",
    "priority road",
    "yield",
    "stop",
    "no vehicles",
    "vehicles over 3.5 t prohibited",
    "no entry",
    "general caution",
    "dangerous curve to the left",
    "dangerous curve to the right",
    "double curve",
    "bumpy road",
    "slippery road",
    "road narrows on the right",
    "road work",
    "traffic signals",
    "pedestrians",
    "children crossing",
    "bicycles crossing",
    "beware of ice or snow",
    "wild animals crossing",
    "end of all speed and passing limits",
    "turn right ahead",
    "turn left ahead",
    "ahead only",
    "go straight or right",
    "go straight or left",
    "keep right",
    "keep left",
    "roundabout mandatory",
    "end of no passing",
    "end of no passing for vehicles over 3.5 t",
)
HELD_OUT = 10  # one track in so many goes to validation, and one to calibration
SEED = 1307


def load(root: Path | None) -> Dataset:
    """10,129 training, 1,470 validation and 1,470 calibration images, and the 12,630 test images; RGB, 32x32.

    Raises DatasetUnavailable when `root` is None, or the file is missing or broken.
    """
    training, held = COUNTS
    with archive(folder(root, "gtsrb") / FILE) as opened:
        whole, test = _split(opened, "train", training), _split(opened, "test", held)
        tracks = member(opened, "train_tracks", (training,))
    train, validation, calibration = cut_by_track(whole, tracks)
    # mean and deviation of each channel over the training part, without validation and calibration
    spec = InputSpec(shape=(3, 32, 32), mode="RGB", mean=(0.338, 0.311, 0.322), std=(0.275, 0.265, 0.273))
    return Dataset("gtsrb", train, validation, calibration, test, spec, OutputSpec(len(LABELS), LABELS))


def cut_by_track(split: Split, tracks: NDArray[np.uint8]) -> list[Split]:
    """Train, validation and calibration; `tracks` (N,) numbers the tracks of each class.

    The frames of a track are near copies of one another, so they stay together: of each class's tracks a tenth, rounded
    up, goes to validation and as many to calibration. (The DSN paper's table 1 trains on 35,288 of 39,209 images, nine
    tenths, and does not say which.) Parts are shuffled, so that the first images of one are of many classes.
    """
    generator = np.random.Generator(np.random.PCG64(SEED))
    part = np.zeros(len(split), dtype=np.int64)
    for label in np.unique(split.labels):
        own = split.labels == label
        order = generator.permutation(np.unique(tracks[own]))
        count = -(-len(order) // HELD_OUT)
        part[own & np.isin(tracks, order[:count])] = 1
        part[own & np.isin(tracks, order[count : 2 * count])] = 2
    return [split.take(generator.permutation(np.flatnonzero(part == index))) for index in range(3)]


def _split(opened: NpzFile, part: str, count: int) -> Split:
    images, labels = member(opened, f"{part}_images", (count, 32, 32, 3)), member(opened, f"{part}_labels", (count,))
    if labels.max() >= len(LABELS):
        raise ValueError(f"{part} has a label beyond {len(LABELS) - 1}")
    return Split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64))
