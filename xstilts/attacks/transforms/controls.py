"""Mild controls, which no reader takes for an attack: capitals, lower case, words without their diacritics."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from random import Random

import regex

from xstilts.attacks import casing
from xstilts.attacks.segmentation import graphemes, script_of
from xstilts.attacks.transforms import Clusters, register

CASED = frozenset(
    {"Latn", "Cyrl", "Grek"}
)  # not Geor: its capitals (U+1C90 ...) are for whole lines, and few fonts have them

# Script -> marks of the decomposed text (NFD) that readers do without.
_MARKS = {
    # also where they make a letter of its own (ä, ñ, ş): texts typed without them are common
    "Latn": regex.compile(r"\p{Mn}+"),
    "Grek": regex.compile(r"[\u0301\u0308\u0300\u0342\u0313\u0314\u0345]+"),  # tonos, dialytika, polytonic marks
    # stress marks, and the dots of ё, which print leaves out; й, ї, ў and ѓ are letters of their own
    "Cyrl": regex.compile(r"(?<=[аеёиоуыэюяіѣ]\u0308?)[\u0300\u0301]+|(?<=е)\u0308", regex.IGNORECASE),
    "Arab": regex.compile(r"[\u064b-\u0652\u0670]+"),  # harakat; a hamza or a maddah makes another letter
    "Hebr": regex.compile(r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]+"),  # cantillation and niqqud
}


def _whole(clusters: Clusters, first: int, last: int, change: Callable[[str], str]) -> list[Clusters]:
    """`change` of the clusters first:last together, as the one candidate, if it is any change."""
    middle = "".join(clusters[first:last])
    new = change(middle)
    return [(*clusters[:first], *graphemes(new), *clusters[last:])] if new != middle else []


def _cased(clusters: Clusters) -> bool:
    return script_of("".join(clusters)) in CASED


@register("upper")
def upper(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """The word in capitals, by the language's rules (Turkish i -> İ, Greek without tonos); Latin, Cyrillic, Greek."""
    code = language.get("code", "")
    return _whole(clusters, first, last, lambda text: casing.upper(text, code)) if _cased(clusters) else []


@register("lower")
def lower(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """The word in lower case, by the language's rules (Turkish I -> ı); Latin, Cyrillic, Greek."""
    code = language.get("code", "")
    return _whole(clusters, first, last, lambda text: casing.lower(text, code)) if _cased(clusters) else []


@register("title")
def title(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """The word's first letter as a capital (Turkish i -> İ, Dutch ij -> IJ), the rest as it is."""
    if first or not last or not _cased(clusters):
        return []
    code = language.get("code", "")
    return _whole(clusters, first, last, lambda text: casing.title(text, code))


@register("no_diacritics")
def no_diacritics(
    clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict
) -> list[Clusters]:
    """The word without the marks that readers do without: Latin diacritics, Greek tonos and breathings, Cyrillic stress
    marks and the dots of ё, Arabic harakat, Hebrew niqqud. Vowel signs of Indic scripts and Thai, й and dakuten stay.
    """
    new = [_bare(cluster) for cluster in clusters[first:last]]
    return _whole(clusters, first, last, lambda _: "".join(new))


def _bare(cluster: str) -> str:
    marks = _MARKS.get(script_of(cluster))
    decomposed = unicodedata.normalize("NFD", cluster) if marks else ""
    if not marks or not marks.search(decomposed):
        return cluster
    return unicodedata.normalize("NFC", marks.sub("", decomposed))
