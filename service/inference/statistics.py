"""What each version has answered, and where the time went, as the Open Inference Protocol's statistics have it.

Of this process, since it started; a gateway of several processes has several.
"""

import time
from dataclasses import dataclass, field
from typing import Any

LEGS = ("queue", "compute_input", "compute_infer", "compute_output")  # of a prediction, in turn


@dataclass(slots=True)
class Spent:
    """How often, and nanoseconds in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Once more."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class VersionStatistics:
    """Of one version: predictions (success, fail, queue, compute_...), and images (`inferences`) and batches
    (`executions`) that went through the network, those of sessions by fingerprint among them.
    """

    success: Spent = field(default_factory=Spent)
    fail: Spent = field(default_factory=Spent)
    queue: Spent = field(default_factory=Spent)
    compute_input: Spent = field(default_factory=Spent)
    compute_infer: Spent = field(default_factory=Spent)
    compute_output: Spent = field(default_factory=Spent)
    inferences: int = 0
    executions: int = 0
    last_ms: int = 0  # since 1970

    def executed(self, images: int) -> None:
        """A batch of so many images went through the network."""
        self.inferences += images
        self.executions += 1
        self.last_ms = time.time_ns() // 1_000_000

    def to_dict(self) -> dict[str, Any]:
        """In the protocol's words."""
        spent: dict[str, Spent] = {name: getattr(self, name) for name in ("success", "fail", *LEGS)}
        return {
            "last_inference": self.last_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {name: {"count": each.count, "ns": each.ns} for name, each in spent.items()},
        }


class Statistics:
    """Of all versions, by id."""

    def __init__(self) -> None:
        self._versions: dict[str, VersionStatistics] = {}

    def of(self, version_id: str) -> VersionStatistics:
        """A version's, which begin with nothing."""
        found = self._versions.get(version_id)
        if found is None:
            found = self._versions[version_id] = VersionStatistics()
        return found
