"""What a sentence encoder says of words and texts: nearest words, cosines of a text before and after a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate

import numpy as np
import regex

from xstilts.attacks import casing
from xstilts.attacks.candidates.single_words import asked_script, fitting, word_script
from xstilts.attacks.segmentation import sentences, words
from xstilts.data.kinds.sequences import clean

MOST_WORDS = 20_000
DECIMALS = 6  # of cosines: what is behind may differ between machines
KEPT = 4096  # vectors of original texts
NEAREST = 256  # neighbours of a word that are kept
# long texts are compared by words; all else is single characters
_TOKEN = regex.compile(r"[\p{L}\p{M}\p{N}\p{Cf}]+|\s+|[^\p{L}\p{M}\p{N}\p{Cf}\s]")
Stretch = tuple[int, int, int, int]  # start and end before a change, start and end after it


def vocabulary(rows: Sequence[dict], fields: Sequence[str], language: dict) -> list[str]:
    """The most frequent `MOST_WORDS` words of one script in the fields of all rows, sorted.

    Words that differ in case alone count as one, in the form that is most frequent inside sentences: a capital at a
    beginning says nothing. `language`: a row of catalog/languages.yaml with its `code`.
    """
    totals: Counter = Counter()
    forms: dict[str, Counter] = {}
    for row in rows:
        for field in fields:
            for word, begins in _words(row.get(field) or "", language["code"]):
                if word_script(word):
                    folded = casing.fold(word, language["code"])
                    totals[folded] += 1
                    forms.setdefault(folded, Counter())[word] += not begins
    best = sorted(totals, key=lambda folded: (-totals[folded], folded))[:MOST_WORDS]
    return sorted(min(forms[folded].items(), key=lambda form: (-form[1], form[0]))[0] for folded in best)


def _words(value: str | list[str], code: str) -> Iterator[tuple[str, bool]]:
    """(word, whether it begins a sentence) of a text, or of a list of tokens."""
    if not isinstance(value, str):
        yield from ((token, number == 0) for number, token in enumerate(value))
        return
    starts = iter([*(start for start, _ in sentences(value)), len(value)])
    start = next(starts)
    for word in words(value, code):
        begins = word.start >= start
        while word.start >= start:
            start = next(starts)
        yield value[word.start : word.end], begins


class Similar:
    """Cosines in one layer of an encoder, by an `embedding.Embedder`; texts longer than its `max_length` by parts."""

    def __init__(self, embedder, layer: int, max_length: int):
        self._embedder, self._layer, self._most = embedder, layer, max_length
        self._kept: dict[str, np.ndarray] = {}  # of originals, and of parts that come again with other changes
        self._room: dict[str, int | None] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, hidden), rows of length 1."""
        if not texts:
            return np.zeros((0, self._embedder.model.config["hidden_size"]), np.float32)
        return self._embedder.embed(texts, [self._layer])[self._layer]

    def similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The cosine of the two texts of each pair: (before, after) a change; equal ones have exactly 1.

        The encoder cuts a text at its end. Of a longer one it is shown a part around each change, `_parts`, and the
        least of their cosines counts.
        """
        parts = [self._parts(before, after) for before, after in pairs]
        texts = list(dict.fromkeys(text for found in parts for part in found for text in part))
        fresh = [text for text in texts if text not in self._kept]
        vectors = self._kept | dict(zip(fresh, self.embed(fresh), strict=True))
        self._kept = self._worth_keeping(pairs, parts, vectors)
        return [
            min((self._cosine(vectors[one], vectors[other]) for one, other in found if one != other), default=1.0)
            for found in parts
        ]

    @staticmethod
    def _cosine(one: np.ndarray, other: np.ndarray) -> float:
        return round(float(np.dot(one.astype(np.float64), other.astype(np.float64))), DECIMALS)

    @staticmethod
    def _worth_keeping(pairs, parts, vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The vectors of all originals and of all parts of long texts; those of whole changed texts come once."""
        once = {after for (before, after), found in zip(pairs, parts, strict=True) if found == [(before, after)]}
        kept = {text: vector for text, vector in vectors.items() if text not in once}
        if len(kept) <= KEPT:
            return kept
        now = {text for found in parts for part in found for text in part} - once
        return {text: vectors[text] for text in list(now)[:KEPT]}

    def neighbours(self, vocabulary: list[str], least: float, language: str = "") -> Neighbours:
        """`Resources.neighbours` among the words of `vocabulary`, which are of `language` (a code)."""
        return Neighbours(self, vocabulary, least, language)

    def _parts(self, before: str, after: str) -> list[tuple[str, str]]:
        """A short text as it is; of a long one the parts that hold a change, before and after it.

        A text is laid out in cells of half of what the encoder reads; a part is a cell with a change and a quarter of
        that length on either side, which leaves room for longer words. Cells stay where they are, so that a part is the
        same text whatever changes elsewhere.
        """
        room = self._characters(before)
        if room is None or before == after:
            return [(before, after)]
        found, step, last = stretches(before, after), room // 2, len(before) - 1
        cells = {
            cell
            for start, end, _, _ in found
            for cell in range(min(start, last) // step, min(max(start, end - 1), last) // step + 1)
        }
        parts = []
        for cell in sorted(cells):
            start = max(0, min(cell * step, len(before) - step) - room // 4)
            start = before.rfind(" ", max(0, start - 64), start) + 1 or start  # a word's beginning where there is one
            end = min(len(before), start + room)
            parts.append((before[start:end], after[moved(start, found) : moved(end, found, True)]))
        return parts

    def _characters(self, text: str) -> int | None:
        """How many of the text's characters the encoder reads, by the mean length of its pieces; None: all."""
        if text not in self._room:
            if len(self._room) >= KEPT:
                self._room = {}
            pieces = len(self._embedder.model.tokenizer.encode(clean(text), add_special_tokens=False).ids)
            whole = pieces <= self._most - 2
            self._room[text] = None if whole else max(16, len(text) * (self._most - 2) // pieces)
        return self._room[text]


def stretches(before: str, after: str) -> list[Stretch]:
    """Where two texts differ, in order, by whole words: those of equal places where both have as many words and other
    signs, else of `difflib`'s blocks."""
    one, other = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(one) == len(other):
        spans = [(i, i + 1, i, i + 1) for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    else:
        blocks = SequenceMatcher(None, one, other).get_opcodes()
        spans = [span for name, *span in blocks if name != "equal"]
    at, there = _offsets(one), _offsets(other)
    return [(at[a], at[b], there[c], there[d]) for a, b, c, d in spans]


def _offsets(tokens: list[str]) -> list[int]:
    """Where each token starts, and where the last one ends."""
    return list(accumulate(map(len, tokens), initial=0))


def moved(place: int, found: list[Stretch], end: bool = False) -> int:
    """Where a place of the text before is in the text after: as far behind a change's start, or at its end.

    `end`: the place is the end of a part, which has what is put in there.
    """
    shift = 0
    for start, stop, new_start, new_stop in found:
        if place < start or (place == start and not (end and start == stop)):
            break
        if place < stop:
            return min(new_start + place - start, new_stop)
        shift = new_stop - stop
    return place + shift


class Neighbours:
    """Calls as `Resources.neighbours`; the vocabulary's vectors are made at the first call."""

    def __init__(self, similar: Similar, vocabulary: list[str], least: float, language: str = ""):
        self._similar, self._vocabulary, self._least, self._language = similar, vocabulary, least, language
        self._vectors: np.ndarray | None = None
        self._folded = np.array([casing.fold(word, language) for word in vocabulary], dtype=object)
        self._scripts = np.array([word_script(word) for word in vocabulary], dtype=object)
        self._found: dict[str, list[tuple[str, float]]] = {}

    def __call__(self, words: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """For each word its `k` nearest of the vocabulary with their cosines, best first; ties in sorted order.

        Left out: the word itself in any case, words of another script, cosines below `least`.
        """
        if self._vectors is None:
            self._vectors = np.ascontiguousarray(self._similar.embed(self._vocabulary))
        new = [word for word in dict.fromkeys(words) if word not in self._found]
        if new and len(self._vocabulary):
            for word, vector in zip(new, self._similar.embed(new), strict=True):
                # a product a word: in one for all words the bits of a row depend on where it stands
                cosines = (self._vectors @ vector).astype(np.float64).round(DECIMALS)
                self._found[word] = self._nearest(word, cosines)
        return [self._found.get(word, [])[:k] for word in words]

    def _nearest(self, word: str, cosines: np.ndarray) -> list[tuple[str, float]]:
        usable = (
            (cosines >= self._least)
            & np.isin(self._scripts, fitting(asked_script(word)))
            & (self._folded != casing.fold(word, self._language))
        )
        places = np.flatnonzero(usable)
        order = places[np.argsort(-cosines[places], kind="stable")][:NEAREST]
        return [(self._vocabulary[place], float(cosines[place])) for place in order]
