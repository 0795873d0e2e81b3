"""Random numbers that are the same bytes on every machine and Python version."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence


def stable_hash(*parts) -> int:
    """64-bit integer of the `repr` of plain values (str, int, None, bool, tuples of them)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode("utf-8")).digest()[:8], "big")


class Rng:
    """The few draws the generator needs, all built on `random.Random(int).random()`, whose stream Python guarantees."""

    def __init__(self, *parts):
        """Seed from plain values, e.g. `Rng("xnli", "test", 1)`."""
        self.random = random.Random(stable_hash(*parts)).random

    def below(self, n: int) -> int:
        """An integer 0 <= k < n."""
        return int(self.random() * n)

    def choice(self, items: Sequence):
        """One of a non-empty sequence."""
        return items[int(self.random() * len(items))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def shuffled(self, items: Sequence) -> list:
        """A new list in random order (Fisher-Yates)."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = self.below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out

    def sample(self, items: Sequence, k: int) -> list:
        """`k` different items, in random order."""
        return self.shuffled(items)[:k]
