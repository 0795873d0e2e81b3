"""Units of change: words of the attacked fields, phrases, places to insert; and how one is changed."""

from __future__ import annotations

from dataclasses import dataclass

from xstilts.attacks.segmentation import Word, sentences, token, words


@dataclass(frozen=True)
class Unit:
    """A stretch of one field: of the field's text, or of its token number `token` (tagging).

    `word.start == word.end` is a place to insert at. `guarded`: it meets the sentence of a gold answer.
    """

    field: str
    token: int | None
    word: Word
    guarded: bool = False

    def overlaps(self, other: Unit) -> bool:
        """True where both cannot be changed at once."""
        if (self.field, self.token) != (other.field, other.token):
            return False
        one, two = self.word, other.word
        return (one.start < two.end and two.start < one.end) or (one.start, one.end) == (two.start, two.end)


def units(example: dict, fields: list[str], language: str = "") -> list[Unit]:
    """All words of the attacked fields, in order; `language` (code) chooses the word segmenter."""
    found = []
    for field in fields:
        value = example[field]
        if isinstance(value, list):
            found += [Unit(field, index, token(text)) for index, text in enumerate(value)]
            continue
        guards = answer_sentences(example) if field == "context" else []
        found += [Unit(field, None, word, meets(word.start, word.end, guards)) for word in words(value, language)]
    return found


def answer_sentences(example: dict) -> list[tuple[int, int]]:
    """Sentences that hold any part of a gold answer: a reader needs them unchanged to find the answer."""
    answers = [(answer["start"], answer["start"] + len(answer["text"])) for answer in example.get("answers", [])]
    spans = sentences(example["context"]) if answers else []
    return answers + [span for span in spans if any(span[0] < end and start < span[1] for start, end in answers)]


def meets(start: int, end: int, spans: list[tuple[int, int]]) -> bool:
    """True where start:end has a character in common with one of `spans`."""
    return any(start < last and first < end for first, last in spans)


def text_of(example: dict, unit: Unit) -> str:
    """The whole text that the unit is a stretch of."""
    value = example[unit.field]
    return value if unit.token is None else value[unit.token]


def apply(example: dict, found: list[Unit], changes: dict[int, str]) -> dict:
    """The example with the units of `changes` (index in `found` -> new text) replaced and gold answers re-found.

    Other fields are the same objects. An answer moves by the length of the changes before it; its text never changes.
    The units of `changes` must not overlap.
    """
    changed = dict(example)
    # from the end on; at one place the word first, then what is inserted before it
    edits = sorted(((found[index], text) for index, text in changes.items()), key=_from_the_end)
    for unit, text in edits:
        field, word = unit.field, unit.word
        if unit.token is not None:
            tokens = list(changed[field])
            old = tokens[unit.token]
            tokens[unit.token] = old[: word.start] + text + old[word.end :]
            changed[field] = tokens
            continue
        changed[field] = changed[field][: word.start] + text + changed[field][word.end :]
        if field == "context" and changed.get("answers"):
            moved = len(text) - (word.end - word.start)
            changed["answers"] = [
                {**answer, "start": answer["start"] + moved * (answer["start"] >= word.end)}
                for answer in changed["answers"]
            ]
    return changed


def _from_the_end(edit: tuple[Unit, str]) -> tuple[int, int]:
    return -edit[0].word.start, -edit[0].word.end
