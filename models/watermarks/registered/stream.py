"""Numbers from a key, the same on every machine and without bias: SHAKE-256 in counter mode, rejection sampling."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

WORD = 8  # bytes
BLOCK = 512  # words


class HashStream:
    """A stream of integers named by a domain and a seed; whoever has both can draw it again."""

    def __init__(self, domain: bytes, seed: bytes) -> None:
        self._prefix = domain + b"\0" + len(seed).to_bytes(8, "big") + seed
        self._words: list[int] = []
        self._blocks = 0

    def below(self, bound: int) -> int:
        """Uniform in 0 to bound - 1, `bound` at most 2^64."""
        limit = (1 << 8 * WORD) // bound * bound  # words from here on would favour the small numbers
        while (word := self._word()) >= limit:
            pass
        return word % bound

    def sample(self, population: Sequence[int], count: int) -> list[int]:
        """`count` distinct ones in random order (Fisher and Yates); with all of them, a shuffle."""
        items = list(population)
        for index in range(count):
            other = index + self.below(len(items) - index)
            items[index], items[other] = items[other], items[index]
        return items[:count]

    def _word(self) -> int:
        if not self._words:
            data = hashlib.shake_256(self._prefix + self._blocks.to_bytes(8, "big")).digest(WORD * BLOCK)
            self._words = [int.from_bytes(data[at : at + WORD], "big") for at in range(0, len(data), WORD)][::-1]
            self._blocks += 1
        return self._words.pop()
