"""The key next to the one that was meant, on the usual layout of the language (catalog/keyboards)."""

from __future__ import annotations

import unicodedata
from random import Random

from xstilts.attacks import casing
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.transforms import Clusters, register, shuffled
from xstilts.attacks.transforms.characters import like

# keys of the Korean layout -> conjoining jamo of a syllable's start, middle and end (Unicode 3.12)
_COMPATIBILITY = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_LEADS = {key: chr(0x1100 + i) for i, key in enumerate(_COMPATIBILITY)}
_VOWELS = {chr(0x314F + i): chr(0x1161 + i) for i in range(21)}
_TAILS = {
    key: chr(0x11A7 + i) for i, key in enumerate("ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ", start=1)
}
_PLACES = [(table, {jamo: key for key, jamo in table.items()}) for table in (_LEADS, _VOWELS, _TAILS)]


@register("key")
def key(clusters: Clusters, first: int, last: int, rng: Random, language: dict, options: dict) -> list[Clusters]:
    """Replace one letter or mark by that of an adjacent key; Hangul by jamo. Case is kept, a cluster stays one."""
    keys = language.get("keyboard") or {}
    return shuffled(
        (
            (*clusters[:i], new, *clusters[i + 1 :])
            for i in range(first, last)
            for new in _neighbours(clusters[i], keys, language)
            if new != clusters[i]
        ),
        rng,
    )


def _neighbours(cluster: str, keys: dict[str, list[str]], language: dict) -> list[str]:
    if len(cluster) == 1 and "\uac00" <= cluster <= "\ud7a3":
        return _syllables(cluster, keys)
    found = []
    for i, character in enumerate(cluster):
        for other in keys.get(casing.lower(character, language.get("code", "")), ()):
            # a letter for a letter, a mark for a mark: anything else would start or swallow a cluster
            if unicodedata.category(other)[0] != unicodedata.category(character)[0]:
                continue
            new = cluster[:i] + like(other, character, language) + cluster[i + 1 :]
            if len(graphemes(new)) == 1:
                found.append(new)
    return found


def _syllables(syllable: str, keys: dict[str, list[str]]) -> list[str]:
    """Hangul syllables with one jamo's key missed; jamo typed with two keys (ㅘ, ㄺ) stay."""
    jamo, found = unicodedata.normalize("NFD", syllable), []
    for i, (table, names) in enumerate(_PLACES[: len(jamo)]):
        for other in keys.get(names[jamo[i]], ()):
            if other in table:
                found.append(unicodedata.normalize("NFC", jamo[:i] + table[other] + jamo[i + 1 :]))
    return found
