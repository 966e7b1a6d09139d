"""Parts of the results file: fingerprints."""

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints import (
    codewords,
    figure2,
    generators,
    identities,
    outputs,
    rounding,
    table1,
    white_box,
)
from benchmarks.activeguard.fingerprints.plots import PLOTS
from benchmarks.runner import Part

PARTS: tuple[Part[Budget], ...] = (
    Part("figure2", figure2.FIGURE2, figure2.figure2),
    Part("table1", table1.MNIST, table1.mnist),
    Part("table1_cifar10", table1.CIFAR10, table1.cifar10),
    Part("outputs", outputs.OUTPUTS, outputs.outputs),
    Part("generators", generators.GENERATORS, generators.generators),
    Part("rounding", rounding.ROUNDING, rounding.rounding),
    Part("codewords_issued", codewords.ISSUED, codewords.issued),
    Part("codewords_forged", codewords.FORGED, codewords.forged),
    Part("codewords_white_box", white_box.WHITE_BOX, white_box.white_box),
    Part("identities", identities.IDENTITIES, identities.identities),
)

__all__ = ["PARTS", "PLOTS"]
