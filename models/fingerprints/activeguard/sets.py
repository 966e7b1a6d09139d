"""A license as an ordered sequence of m fingerprints: N = (K T)^m users instead of eq. (5)'s K T. Not in the paper.

The allotment takes the smallest m that keeps occupancy, licenses / N, under a half: a user drawn at random is then free
at the first or second draw, and most sequences of outputs belong to nobody. User u has the digits of u in base K T,
the most significant first, each the slot of one fingerprint (`Allotment.output`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from models.errors import AllotmentError
from models.fingerprints.activeguard.allotment import Allotment, FingerprintOutput

LONGEST = 16  # fingerprints a license may be asked to carry, unless told otherwise


@dataclass(frozen=True)
class FingerprintSets:
    """Sequences of `length` outputs of one allotment; raises AllotmentError naming `length`."""

    allotment: Allotment
    length: int

    def __post_init__(self) -> None:
        if type(self.length) is not int or self.length < 1:
            raise AllotmentError("length", "must be an integer of at least 1")

    @classmethod
    def holding(cls, allotment: Allotment, licenses: int, longest: int = LONGEST) -> FingerprintSets:
        """The shortest sequences of which `licenses` take less than half; the longest there may be, up to the last.

        Raises AllotmentError naming `longest` when there are more licenses than sequences of that length.
        """
        for length in range(1, longest + 1):
            if 2 * licenses < allotment.capacity**length:
                return cls(allotment, length)
        if licenses <= allotment.capacity**longest:
            return cls(allotment, longest)
        raise AllotmentError(
            "longest",
            f"all {allotment.capacity**longest} sequences of {longest} fingerprint(s) with {allotment.capacity} "
            "outputs each are allotted; allow longer ones, or allot more confidences",
        )

    @property
    def capacity(self) -> int:
        """N = (K T)^m."""
        return int(self.allotment.capacity**self.length)

    def slots(self, user: int) -> tuple[int, ...]:
        """The slots of user 0 to capacity - 1, in order; raises AllotmentError naming `user` beyond that."""
        if not 0 <= user < self.capacity:
            raise AllotmentError("user", f"{user} is not one of the {self.capacity} that can be told apart")
        found = []
        for _ in range(self.length):
            user, slot = divmod(user, self.allotment.capacity)
            found.append(slot)
        return tuple(reversed(found))

    def outputs(self, user: int) -> tuple[FingerprintOutput, ...]:
        """What the network has to say to the user's fingerprints, in order."""
        return tuple(self.allotment.output(slot) for slot in self.slots(user))

    def number(self, slots: Sequence[int]) -> int:
        """The user with these slots."""
        user = 0
        for slot in slots:
            user = user * self.allotment.capacity + slot
        return user

    def user(self, outputs: Sequence[FingerprintOutput]) -> int:
        """Whose sequence this is; raises AllotmentError naming `outputs`, or `output` for one that is not allotted."""
        if len(outputs) != self.length:
            raise AllotmentError("outputs", f"must be a sequence of {self.length}, not {len(outputs)}")
        return self.number([self.allotment.user(output) for output in outputs])

    def draw(self, taken: Set[int], randbelow: Callable[[int], int] = secrets.randbelow) -> int:
        """A user who is nobody yet, uniformly: not the next one, or who issues at the same time takes him too.

        Raises AllotmentError naming `length` when everybody is taken.
        """
        if len(taken) >= self.capacity:
            raise AllotmentError("length", f"all {self.capacity} sequences of {self.length} fingerprint(s) are taken")
        while (user := randbelow(self.capacity)) in taken:
            pass
        return user
