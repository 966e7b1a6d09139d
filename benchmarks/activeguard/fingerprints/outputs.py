"""The whole band: every output of the paper's 19 confidences, and how small epsilon may be."""

import torch

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.networks import Network, entropy, images, lenet5, seeds
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard import Allotment, ControlLayer, GenerationSettings, generate
from models.predictor import predict

OUTPUTS = ("outputs", "outputs_epsilon")
BAND = Allotment.from_band(10, epsilon=0.01)  # 0.12, 0.14, ... 0.48: the paper's 0.10 is the flat answer
REPEATS = {"smoke": 1, "cpu": 5, "gpu": 20}
GRID = (0.01, 0.002, 0.001, 0.0005, 0.0002, 0.0001, 0.00005)


def outputs(budget: Budget, steps: Steps) -> list[Row]:
    """Every output, some times on each network."""
    shelf, repeats = Shelf.of(budget, "fingerprints"), REPEATS[budget.name]
    found = [
        shelf.piece(
            f"outputs-{seed}", (seed, repeats, GenerationSettings()), lambda seed=seed: _measure(budget, seed, repeats)
        )
        for seed in steps.over(seeds(budget), "all outputs")
    ]
    errors = [torch.tensor(piece["errors"], dtype=torch.float64) for piece in found]
    every = torch.cat(errors)
    n, right = len(every), int((every < BAND.epsilon).sum())
    largest = [float(one.max()) for one in errors]
    lines = [[epsilon, *(f"{100 * float((one < epsilon).double().mean()):.2f}" for one in errors)] for epsilon in GRID]
    columns = ["epsilon", *(f"network {seed}" for seed in seeds(budget))]
    title = f"Share of {BAND.capacity} outputs x {repeats} taken for their user at 8 bits, %"
    by_network = {"seeds": list(seeds(budget)), "resumed_core_minutes": shelf.minutes / 2}
    return [
        Row(
            OUTPUTS[0],
            f"MNIST LeNet-5, all {BAND.capacity} outputs c = 0.12 to 0.48, epsilon 0.01, 8 bits: share taken",
            bar("==", 1.0),
            right / n,
            n,
            *exact(right, n),
            "exact, 95 %",
            {**by_network, "tables": [{"title": title, "columns": columns, "rows": lines}]},
        ),
        Row(
            OUTPUTS[1],
            "the same outputs: the smallest epsilon at which every one is taken for its user at 8 bits",
            bar("<=", 0.002, "high"),
            max(largest),
            n,
            min(largest),
            max(largest),
            "least and largest network",
            by_network | {"largest_error_by_network": largest},
        ),
    ]


def _measure(budget: Budget, seed: int, repeats: int) -> Piece:
    network = lenet5(budget, seed)
    return {"errors": [error for one in range(repeats) for error in _errors(network, 1000 * seed + one)]}


def _errors(network: Network, seed: int) -> list[float]:
    """E_c of each output's fingerprint as the control layer finds it; 1 where it is taken for another user."""
    users = list(range(BAND.capacity))
    made = generate(
        network.predictor,
        images(network, len(users), seed),
        [BAND.output(user) for user in users],
        entropy=entropy(seed, len(users)),
        settings=GenerationSettings(batch_size=128),
    )
    p = predict(network.predictor, network.predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
    found = ControlLayer(BAND.confidences, BAND.epsilon).authenticate(p)
    errors: list[float] = torch.where(found.user == torch.tensor(users), found.error, 1.0).tolist()
    return errors
