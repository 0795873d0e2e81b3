"""What an attack may touch: which units, how much of a unit, how many units, how far from the original.

`constraints` of an attack's catalog entry: min_length (clusters), keep_first, keep_last, letters_only (no unit with a
digit), stop_words (true: those of the language stay), max_share (of units changed), max_units (longer examples are
skipped), max_distance (edits in clusters over all changed units), similarity ({least: cosine with the original}), and
`by_script` with other values of the first three for units of one ISO 15924 script. null: no limit.
"""

from __future__ import annotations

from functools import lru_cache

import regex

from xstilts.attacks.outcomes import levenshtein
from xstilts.attacks.segmentation import graphemes
from xstilts.attacks.units import Unit

_NUMBER = regex.compile(r"\p{N}")
_LETTER = regex.compile(r"\p{L}")
_CONTEXT = 16  # code points each side in which an edit could merge clusters; a longer cluster is degenerate


def editable(
    unit: Unit, constraints: dict, stop_words: frozenset[str] | set[str] = frozenset()
) -> tuple[int, int] | None:
    """(first, last): the half-open range of clusters that may be touched, or None when the unit must stay as it is."""
    text = "".join(unit.word.clusters)
    if unit.guarded or not _LETTER.search(text) or (constraints.get("letters_only") and _NUMBER.search(text)):
        return None
    if stop_words and text.lower() in stop_words:
        return None
    rules = {**constraints, **constraints.get("by_script", {}).get(unit.word.script, {})}
    length = len(unit.word.clusters)
    if length < rules.get("min_length", 1):
        return None
    return int(rules.get("keep_first", False)), length - int(rules.get("keep_last", False))


def stop_words(constraints: dict, language: str) -> frozenset[str]:
    """The words of the language that the attack leaves alone (lower case); none where it has no such constraint."""
    if not constraints.get("stop_words"):
        return frozenset()
    from xstilts.attacks import stopwords  # its lists are read on import

    return stopwords.of(language)


def clusters_whole(unit: Unit, clusters: tuple[str, ...], text: str) -> bool:
    """True when `clusters` stay clusters in their place: neither merged with one another nor with their neighbours.

    `text` is the unit's field (or token) before the change. A swap can put a mark or a joiner next to a letter that
    takes it up (Indic conjuncts, Hangul jamo); such a candidate would tear a cluster apart and is refused.
    """
    before = text[max(0, unit.word.start - _CONTEXT) : unit.word.start]
    after = text[unit.word.end : unit.word.end + _CONTEXT]
    return graphemes(before + "".join(clusters) + after) == [*_clusters(before), *clusters, *_clusters(after)]


@lru_cache(maxsize=1024)
def _clusters(text: str) -> list[str]:
    """Of what stands beside a unit, which has many candidates."""
    return graphemes(text)


def token_whole(unit: Unit, text: str) -> bool:
    """True unless `text` would be no token any more, or one with more white space, where the unit is of a token."""
    return unit.token is None or (bool(text) and _spaces(text) <= _spaces("".join(unit.word.clusters)))


def _spaces(text: str) -> int:
    return sum(map(str.isspace, text))


def budget(identity: dict, kind: str) -> dict:
    """The limits of an attack's search on one example of a kind: those of `by_kind` come before the others."""
    limits = dict(identity["budget"])
    return {**limits, **(limits.pop("by_kind", None) or {}).get(kind, {})}


def most_changes(total: int, constraints: dict, budget: dict) -> int:
    """How many of `total` units may change: the budget's number, at most `max_share` of them, but always one."""
    share, number = constraints.get("max_share"), budget.get("changes")
    most = total if share is None else int(total * share)
    return max(1, most if number is None else min(most, number))


class Distance:
    """Edit distance of changes to the original, in clusters, added up over the changed units; each is measured once."""

    def __init__(self, units: list[Unit]):
        self._units, self._known = units, {}

    def __call__(self, changes: dict[int, str]) -> int:
        return sum(self._one(item) for item in changes.items())

    def _one(self, item: tuple[int, str]) -> int:
        if item not in self._known:
            self._known[item] = levenshtein(self._units[item[0]].word.clusters, graphemes(item[1]))
        return self._known[item]
