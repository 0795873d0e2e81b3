"""What can be done to one unit of text. A transform proposes; constraints and the search choose.

Signature: transform(clusters, first, last, rng) -> list of cluster tuples, distinct, none equal to `clusters`, in the
order that `rng` gives. Only the clusters with index first <= i < last may be touched. Add one with `@register(name)`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from random import Random

Clusters = tuple[str, ...]
Transform = Callable[[Clusters, int, int, Random], list[Clusters]]
TRANSFORMS: dict[str, Transform] = {}

# Zero width space and word joiner: without shape, and transparent to joining in Arabic (Unicode joining type T).
# Boucher et al.'s other two, U+200C and U+200D, change shapes in Arabic and Indic scripts and are left out.
INVISIBLE = ("\u200b", "\u2060")

# Letters of one shape: the pairs of Unicode 17 security/intentional.txt between Latin, Cyrillic and Greek, and the
# Cyrillic letters of the same shape as a Greek one that it pairs with a Latin one (A ~ U+0391, so also U+0410).
_PAIRS = (
    ("acdehipsxyABCEHIJKMOPSTX", "асԁеһірѕхуАВСЕНІЈКМОРЅТХ"),
    ("oABEHIKMNOPTXYZ", "οΑΒΕΗΙΚΜΝΟΡΤΧΥΖ"),
    ("ΓΠ", "ГП"),
    ("o", "о"),
)


def _homoglyphs() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for left, right in _PAIRS:
        for one, other in zip(left, right, strict=True):
            table[one] = (*table.get(one, ()), other)
            table[other] = (*table.get(other, ()), one)
    return table


HOMOGLYPHS = _homoglyphs()


def register(name: str) -> Callable[[Transform], Transform]:
    """Make a transform known to the catalog under `name`."""

    def add(transform: Transform) -> Transform:
        TRANSFORMS[name] = transform
        return transform

    return add


@register("charswap")
def charswap(clusters: Clusters, first: int, last: int, rng: Random) -> list[Clusters]:
    """Swap two neighbouring grapheme clusters: the swap of DeepWordBug and Pruthi et al., not of code points."""
    swapped = [
        (*clusters[:i], clusters[i + 1], clusters[i], *clusters[i + 2 :])
        for i in range(first, last - 1)
        if clusters[i] != clusters[i + 1]
    ]
    return _shuffled(swapped, rng)


@register("lookalike")
def lookalike(clusters: Clusters, first: int, last: int, rng: Random) -> list[Clusters]:
    """Insert one invisible character between two clusters or replace one letter by a look-alike, in turn."""
    invisible = [
        (*clusters[:i], character, *clusters[i:])
        for i in range(max(first, 1), min(last, len(clusters) - 1) + 1)
        for character in INVISIBLE
    ]
    homoglyph = [
        (*clusters[:i], other, *clusters[i + 1 :])
        for i in range(first, last)
        for other in HOMOGLYPHS.get(clusters[i], ())
    ]
    turns = zip_longest(_shuffled(invisible, rng), _shuffled(homoglyph, rng))
    return [candidate for turn in turns for candidate in turn if candidate is not None]


def _shuffled(candidates: list[Clusters], rng: Random) -> list[Clusters]:
    distinct = list(dict.fromkeys(candidates))
    rng.shuffle(distinct)
    return distinct
