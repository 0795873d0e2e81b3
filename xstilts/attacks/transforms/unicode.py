"""Changes that a reader does not see: Boucher et al. 2021, Bad Characters (2106.09898), one in a word at a time.

Their rendering is that of the original, not their characters: none of these checks that clusters stay whole.
"""

from __future__ import annotations

import unicodedata
from random import Random
from string import ascii_letters

import regex

from xstilts.attacks.segmentation import script_of
from xstilts.attacks.transforms import Clusters, register, shuffled

# Zero width space and word joiner: without shape, and transparent to joining in Arabic (Unicode joining type T).
INVISIBLE = ("\u200b", "\u2060")
# The paper's other two, U+200C and U+200D, change the shape of neighbours in Arabic and Indic scripts.
JOINERS = ("\u200c", "\u200d")
UNJOINED = frozenset({"Latn", "Cyrl", "Grek", "Hebr", "Geor", "Hang", "Hani", "Hira", "Kana", "Thai"})

# Letters of one shape: the pairs of Unicode 17 security/intentional.txt between Latin, Cyrillic and Greek, and the
# Cyrillic letters of the same shape as a Greek one that it pairs with a Latin one (A ~ U+0391, so also U+0410).
_PAIRS = (
    ("acdehipsxyABCEHIJKMOPSTX", "асԁеһірѕхуАВСЕНІЈКМОРЅТХ"),
    ("oABEHIKMNOPTXYZ", "οΑΒΕΗΙΚΜΝΟΡΤΧΥΖ"),
    ("ΓΠ", "ГП"),
    ("o", "о"),
)

# Where two clusters have one shape together, which anything between them would undo: the obligatory ligatures of Arabic
# (Unicode 9.2, lam and alef) and the two Tamil conjuncts in use (Unicode 12.6), which UAX 29 does not keep whole
_BEFORE = regex.compile(r"(?P<arabic>\u0644\p{M}*)|(?P<ksa>\u0b95\u0bcd)|(?P<sri>[\u0bb6\u0bb8]\u0bcd)")
_AFTER = {
    "arabic": regex.compile(r"[\u0622\u0623\u0625\u0627\u0671]"),
    "ksa": regex.compile(r"\u0bb7"),
    "sri": regex.compile(r"\u0bb0\u0bc0"),
}

LRO, RLO, PDF, LRI, PDI = "\u202d", "\u202e", "\u202c", "\u2066", "\u2069"
BACKSPACE = "\b"


def _homoglyphs() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for left, right in _PAIRS:
        for one, other in zip(left, right, strict=True):
            table[one] = (*table.get(one, ()), other)
            table[other] = (*table.get(other, ()), one)
    return table


HOMOGLYPHS = _homoglyphs()


def _inside(clusters: Clusters, first: int, last: int) -> list[int]:
    """Places to insert at, before a cluster: inside the word, where nothing becomes one space beside another, and not
    inside a ligature."""
    places = range(max(first, 1), min(last, len(clusters) - 1) + 1)
    return [place for place in places if not _ligature(clusters, place)]


def _ligature(clusters: Clusters, place: int) -> bool:
    """Whether the clusters before and behind a place have one shape together."""
    if not 0 < place < len(clusters):
        return False
    before = _BEFORE.fullmatch(clusters[place - 1])
    return before is not None and _AFTER[before.lastgroup].match(clusters[place]) is not None


@register("invisible", checks_clusters=False)
def invisible(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Insert one of `options.characters` (default: U+200B, U+2060) between two clusters; U+200C and U+200D only
    between letters of scripts in which they change no shape."""
    characters = options.get("characters") or INVISIBLE
    return shuffled(
        (
            (*clusters[:i], character, *clusters[i:])
            for i in _inside(clusters, first, last)
            for character in characters
            if character not in JOINERS or {script_of(clusters[i - 1]), script_of(clusters[i])} <= UNJOINED
        ),
        rng,
    )


@register("homoglyph", checks_clusters=False)
def homoglyph(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Replace one letter by one of the same shape in another script: Latin, Cyrillic, Greek."""
    return shuffled(
        (
            (*clusters[:i], other, *clusters[i + 1 :])
            for i in range(first, last)
            for other in HOMOGLYPHS.get(clusters[i], ())
        ),
        rng,
    )


@register("reorder", checks_clusters=False)
def reorder(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Swap two neighbouring letters and have bidi controls show them in their old order.

    The sequence of nickboucher/imperceptible, experiments/experiment.py, class ReorderObjective. Nothing in languages
    and for letters that are written from right to left, where an order that is turned round twice has no such effect.
    """
    if language.get("direction") == "rtl":
        return []
    return shuffled(
        (
            (*clusters[:i], LRO, LRI, RLO, LRI, clusters[i + 1], PDI, LRI, clusters[i], PDI, PDF, PDI, PDF,
             *clusters[i + 2 :])
            for i in range(first, last - 1)
            if clusters[i] != clusters[i + 1] and _rightwards(clusters[i]) and _rightwards(clusters[i + 1])
            and not any(_ligature(clusters, place) for place in (i, i + 1, i + 2))
        ),
        rng,
    )  # fmt: skip


def _rightwards(cluster: str) -> bool:
    return unicodedata.bidirectional(cluster[0]) == "L"


@register("deletion", checks_clusters=False)
def deletion(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Insert a random ASCII letter and a backspace that deletes it, one candidate a place inside the word.

    The paper's code draws from all of ASCII's visible characters. Imperceptible only where the backspace is obeyed.
    """
    found = (
        (*clusters[:i], rng.choice(ascii_letters), BACKSPACE, *clusters[i:]) for i in _inside(clusters, first, last)
    )
    return shuffled(found, rng)
