"""What an attack may touch: which fields and units, how much of a unit, how many units.

`constraints` of an attack's catalog entry: min_length (clusters), keep_first, keep_last, letters_only (no unit with a
digit), max_share (of units changed), max_units (longer examples are skipped), `goals` (see `engine`), and `by_script`
with other values of the first three for units of one ISO 15924 script.
"""

from __future__ import annotations

from dataclasses import dataclass

import regex

from xstilts.attacks.segmentation import Word, graphemes, sentences, token, words

_NUMBER = regex.compile(r"\p{N}")
_LETTER = regex.compile(r"\p{L}")
_CONTEXT = 16  # code points each side in which an edit could merge clusters; a longer cluster is degenerate


@dataclass(frozen=True)
class Unit:
    """One word of one field: of the field's text, or of its token number `token` (tagging)."""

    field: str
    token: int | None
    word: Word
    guarded: bool = False


def units(example: dict, fields: list[str]) -> list[Unit]:
    """All units of the attacked fields, in order. Guarded ones lie in the sentence of a gold answer."""
    found = []
    for field in fields:
        value = example[field]
        if isinstance(value, list):
            found += [Unit(field, index, token(text)) for index, text in enumerate(value)]
            continue
        guards = _answer_sentences(example) if field == "context" else []
        found += [Unit(field, None, word, _meets(word, guards)) for word in words(value)]
    return found


def _answer_sentences(example: dict) -> list[tuple[int, int]]:
    """Sentences that hold any part of a gold answer: a reader needs them unchanged to find the answer."""
    answers = [(answer["start"], answer["start"] + len(answer["text"])) for answer in example.get("answers", [])]
    spans = sentences(example["context"]) if answers else []
    return answers + [span for span in spans if any(span[0] < end and start < span[1] for start, end in answers)]


def _meets(word: Word, spans: list[tuple[int, int]]) -> bool:
    return any(word.start < end and start < word.end for start, end in spans)


def editable(unit: Unit, constraints: dict) -> tuple[int, int] | None:
    """(first, last): the half-open range of clusters that may be touched, or None when the unit must stay as it is."""
    text = "".join(unit.word.clusters)
    if unit.guarded or not _LETTER.search(text) or (constraints["letters_only"] and _NUMBER.search(text)):
        return None
    rules = {**constraints, **constraints["by_script"].get(unit.word.script, {})}
    length = len(unit.word.clusters)
    if length < rules["min_length"]:
        return None
    return int(rules["keep_first"]), length - int(rules["keep_last"])


def clusters_whole(unit: Unit, clusters: tuple[str, ...], text: str) -> bool:
    """True when `clusters` stay clusters in their place: neither merged with one another nor with their neighbours.

    `text` is the unit's field (or token) before the change. A swap can put a mark or a joiner next to a letter that
    takes it up (Indic conjuncts, Hangul jamo); such a candidate would tear a cluster apart and is refused.
    """
    before = text[max(0, unit.word.start - _CONTEXT) : unit.word.start]
    after = text[unit.word.end : unit.word.end + _CONTEXT]
    return graphemes(before + "".join(clusters) + after) == [*graphemes(before), *clusters, *graphemes(after)]


def most_changes(total: int, constraints: dict, budget: dict) -> int:
    """How many of `total` units may change: the budget's number, at most `max_share` of them, but always one."""
    return min(budget["changes"], max(1, int(total * constraints["max_share"])))


def apply(example: dict, found: list[Unit], changes: dict[int, str]) -> dict:
    """The example with the units of `changes` (index in `found` -> new text) replaced and gold answers re-found.

    Other fields are the same objects. An answer moves by the length of the changes before it; its text never changes.
    """
    changed = dict(example)
    edits = sorted(((found[index], text) for index, text in changes.items()), key=lambda edit: -edit[0].word.start)
    for unit, text in edits:
        field, word = unit.field, unit.word
        if unit.token is not None:
            changed[field] = [text if i == unit.token else old for i, old in enumerate(changed[field])]
            continue
        changed[field] = changed[field][: word.start] + text + changed[field][word.end :]
        if field == "context" and changed.get("answers"):
            moved = len(text) - (word.end - word.start)
            changed["answers"] = [
                {**answer, "start": answer["start"] + moved * (answer["start"] >= word.end)}
                for answer in changed["answers"]
            ]
    return changed
