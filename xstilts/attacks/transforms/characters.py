"""Edits of letters: swap, substitute, insert, delete, an inner space. On grapheme clusters, so no mark is torn off.

Letters come from `language["alphabet"]`; a language without one has no candidates of `substitute` and `insert`.
"""

from __future__ import annotations

from random import Random

import regex

from xstilts.attacks import casing
from xstilts.attacks.segmentation import UNSPACED, script_of
from xstilts.attacks.transforms import Clusters, register, shuffled

_LETTER = regex.compile(r"\p{L}")


def like(letter: str, model: str, language: dict) -> str:
    """`letter` in upper case where `model` is, else as it is."""
    if not model.isupper():
        return letter
    upper = casing.title(letter, language.get("code", ""))  # one letter: its accent stays, in Greek too
    return upper if len(upper) == len(letter) else letter  # ß -> Ss would be two letters


@register("swap")
def swap(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Swap two neighbouring grapheme clusters: the swap of DeepWordBug and Pruthi et al., not of code points."""
    return shuffled(
        (
            (*clusters[:i], clusters[i + 1], clusters[i], *clusters[i + 2 :])
            for i in range(first, last - 1)
            if clusters[i] != clusters[i + 1]
        ),
        rng,
    )


@register("substitute")
def substitute(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Replace one letter by a random one of the language's alphabet, one candidate a place; case is kept."""
    letters, found = language.get("alphabet") or (), []
    for i in range(first, last):
        others = [new for letter in letters if (new := like(letter, clusters[i], language)) != clusters[i]]
        if others and _LETTER.match(clusters[i]):
            found.append((*clusters[:i], rng.choice(others), *clusters[i + 1 :]))
    return shuffled(found, rng)


@register("insert")
def insert(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Insert a random letter of the language's alphabet, one candidate a place, in the case of the letter it precedes.

    Places: before each cluster that may be touched (as TextAttack: never at the end of a word).
    """
    letters = language.get("alphabet") or ()
    if not letters:
        return []
    found = []
    for i in range(first, last):
        found.append((*clusters[:i], like(rng.choice(letters), clusters[i], language), *clusters[i:]))
    return shuffled((new for new in found if "".join(new) != "".join(clusters)), rng)


@register("delete")
def delete(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Delete one grapheme cluster; a word of one cluster has no candidate."""
    if len(clusters) < 2:
        return []
    return shuffled(((*clusters[:i], *clusters[i + 1 :]) for i in range(first, last)), rng)


@register("space", one_word=False)
def space(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Insert a space inside the word (TextBugger); not where words are not set apart by spaces."""
    if script_of("".join(clusters)) in UNSPACED:
        return []
    return shuffled(
        ((*clusters[:i], " ", *clusters[i:]) for i in range(max(first, 1), min(last, len(clusters) - 1) + 1)), rng
    )
