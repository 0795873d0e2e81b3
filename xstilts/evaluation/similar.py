"""What a sentence encoder says of words and texts: nearest words, cosines of a text before and after a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from xstilts.attacks.candidates.single_words import asked_script, fitting, word_script
from xstilts.attacks.segmentation import sentences, words
from xstilts.data.kinds.sequences import clean

MOST_WORDS = 20_000
DECIMALS = 6  # of cosines: what is behind may differ between machines
KEPT = 4096  # vectors of original texts
NEAREST = 256  # neighbours of a word that are kept


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
                    totals[word.casefold()] += 1
                    forms.setdefault(word.casefold(), Counter())[word] += not begins
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
    """Cosines in one layer of an encoder, by an `embedding.Embedder`; texts longer than its `max_length` by a part."""

    def __init__(self, embedder, layer: int, max_length: int):
        self._embedder, self._layer, self._most = embedder, layer, max_length
        self._originals: dict[str, np.ndarray] = {}
        self._room: dict[str, int | None] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, hidden), rows of length 1."""
        if not texts:
            return np.zeros((0, self._embedder.model.config["hidden_size"]), np.float32)
        return self._embedder.embed(texts, [self._layer])[self._layer]

    def similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The cosine of the two texts of each pair: (before, after) a change; equal ones have exactly 1."""
        cut = [self._window(before, after) for before, after in pairs]
        fresh = list(dict.fromkeys(before for before, _ in cut if before not in self._originals))
        texts = list(dict.fromkeys([*fresh, *(after for _, after in cut)]))
        vectors = dict(zip(texts, self.embed(texts), strict=True))
        known = self._originals | {text: vectors[text] for text in fresh}
        self._originals = known if len(known) <= KEPT else {before: known[before] for before, _ in cut}
        found = []
        for before, after in cut:
            cosine = float(np.dot(known[before].astype(np.float64), vectors[after].astype(np.float64)))
            found.append(1.0 if before == after else round(cosine, DECIMALS))
        return found

    def neighbours(self, vocabulary: list[str], least: float) -> Neighbours:
        """`Resources.neighbours` among the words of `vocabulary`."""
        return Neighbours(self, vocabulary, least)

    def _window(self, before: str, after: str) -> tuple[str, str]:
        """The parts of a long text around its first change that the encoder can read; a short one as it is.

        The encoder cuts a text at its end: of a change behind that it would see nothing.
        """
        room = self._characters(before)
        if room is None or before == after:
            return before, after
        first = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        start = max(0, first - room // 2)
        start = before.rfind(" ", max(0, start - 64), start) + 1 or start  # a word's beginning where there is one
        return before[start : start + room], after[start : start + room + len(after) - len(before)]

    def _characters(self, text: str) -> int | None:
        """How many of the text's characters the encoder reads, by the mean length of its pieces; None: all."""
        if text not in self._room:
            if len(self._room) >= KEPT:
                self._room = {}
            pieces = len(self._embedder.model.tokenizer.encode(clean(text), add_special_tokens=False).ids)
            whole = pieces <= self._most - 2
            self._room[text] = None if whole else max(16, len(text) * (self._most - 2) // pieces)
        return self._room[text]


class Neighbours:
    """Calls as `Resources.neighbours`; the vocabulary's vectors are made at the first call."""

    def __init__(self, similar: Similar, vocabulary: list[str], least: float):
        self._similar, self._vocabulary, self._least = similar, vocabulary, least
        self._vectors: np.ndarray | None = None
        self._folded = np.array([word.casefold() for word in vocabulary], dtype=object)
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
            & (self._folded != word.casefold())
        )
        places = np.flatnonzero(usable)
        order = places[np.argsort(-cosines[places], kind="stable")][:NEAREST]
        return [(self._vocabulary[place], float(cosines[place])) for place in order]
