"""Shallow methods on plain words: look-up taggers, span guessers and word-overlap retrieval. No model, no weights."""

from __future__ import annotations

import math
import zlib
from collections import Counter

import numpy as np
import regex

# a word, or one character where the script writes no spaces between words
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
SENTENCE_END = regex.compile(r"[.!?…]")
DIGIT = regex.compile(r"\p{N}")
TOKEN = regex.compile(rf"[{UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+", regex.V1)
ANSWER_LENGTHS = (1, 2, 3)  # tokens of a guessed answer; SQuAD's median answer has 2-3
WINDOW = 6  # tokens on each side of a guessed answer that are compared with the question
FREQUENT = 1000  # a word in more sentences than this says nothing about which of them match


def tokens(text: str) -> list[str]:
    """Lower-case words of a text; single characters for scripts without spaces."""
    return TOKEN.findall(text.lower())


def word_tags(train: list[dict]) -> dict[str, str]:
    """Lower-case word -> its most frequent tag in tagged examples (ties: the alphabetically first)."""
    counts: dict[str, Counter] = {}
    for row in train:
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            counts.setdefault(token.lower(), Counter())[tag] += 1
    return {word: min(seen, key=lambda tag: (-seen[tag], tag)) for word, seen in counts.items()}


def gazetteer(train: list[dict]) -> dict[tuple[str, ...], str]:
    """Entity (tokens as written) -> its most frequent type, read from IOB2 tags."""
    counts: dict[tuple[str, ...], Counter] = {}
    for row in train:
        name: list[str] = []
        kind = ""
        for token, tag in [*zip(row["tokens"], row["tags"], strict=True), ("", "O")]:
            if tag.startswith("I-") and name:
                name.append(token)
                continue
            if name:
                counts.setdefault(tuple(name), Counter())[kind] += 1
            name, kind = ([token], tag[2:]) if tag != "O" else ([], "")
    return {name: min(seen, key=lambda one: (-seen[one], one)) for name, seen in counts.items()}


def find_entities(words: list[str], names: dict[tuple[str, ...], str]) -> list[str]:
    """IOB2 tags of a sentence: the longest known entity at each place, left to right."""
    longest = max(map(len, names), default=0)
    tags, place = ["O"] * len(words), 0
    while place < len(words):
        size = next(
            (n for n in range(min(longest, len(words) - place), 0, -1) if tuple(words[place : place + n]) in names), 0
        )
        if size:
            kind = names[tuple(words[place : place + size])]
            tags[place : place + size] = [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
        place += size or 1
    return tags


def random_span(key: str, context: str, question: str) -> str:
    """A span of 1-3 tokens at a place drawn from the question's id."""
    spans = [match.span() for match in TOKEN.finditer(context)]
    if not spans:
        return ""
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8")))
    first = int(rng.integers(len(spans)))
    last = min(len(spans) - 1, first + int(rng.choice(ANSWER_LENGTHS)) - 1)
    return context[spans[first][0] : spans[last][1]]


def random_candidate(key: str, context: str, spans: list[tuple[int, int]]) -> str:
    """The text of one of the spans (start, end) of a context, drawn from the question's id; "" without spans."""
    if not spans:
        return ""
    start, end = spans[int(np.random.default_rng(zlib.crc32(key.encode("utf-8"))).integers(len(spans)))]
    return context[start:end]


def sliding_window(key: str, context: str, question: str) -> str:
    """The span of 1-3 tokens with the most question words around it, after Richardson et al. 2013 (MCTest).

    A question word weighs log(1 + 1 / its share of the context); a span that repeats a question word loses its weight.
    Ties go to the shorter, then the earlier span.
    """
    matches = list(TOKEN.finditer(context))
    if not matches:
        return ""
    words = [match.group().lower() for match in matches]
    counts, asked = Counter(words), set(tokens(question))
    weight = np.array([math.log1p(len(words) / counts[word]) if word in asked else 0.0 for word in words])
    total = np.concatenate([[0.0], np.cumsum(weight)])
    best = (-math.inf, 0, 0)
    for length in ANSWER_LENGTHS:
        if length > len(words):
            break
        start = np.arange(len(words) - length + 1)
        inside = total[start + length] - total[start]
        around = total[np.minimum(start + length + WINDOW, len(words))] - total[np.maximum(start - WINDOW, 0)] - inside
        scores = np.round(around - inside, 9)
        place = int(scores.argmax())
        if scores[place] > best[0]:
            best = (float(scores[place]), place, place + length - 1)
    return context[matches[best[1]].start() : matches[best[2]].end()]


def nearest(rows: list[dict], anchors: bool = True) -> list[int]:
    """For each target (English) sentence in file order: the 0-based row of the source sentence that shares most words.

    Jaccard similarity of word sets; ties, and no shared word at all, go to the first row. With anchors=False the words
    of `anchors_of` do not count.
    """
    words = _words(rows, anchors)
    _, found = _best(words["target"], words["source"])
    return found.tolist()


def mine(rows: list[dict], dev: list[dict], anchors: bool = True) -> list[tuple[str, str]]:
    """Pairs of ids (source, target): mutual best Jaccard, at least the threshold that is best on the dev pools.

    With anchors=False the words of `anchors_of` count neither here nor for the threshold.
    """
    threshold = _threshold(dev, anchors)
    return [(source, target) for similarity, source, target in _mutual(rows, anchors) if similarity >= threshold]


def anchors_of(rows: list[dict]) -> dict[str, set[str]]:
    """side -> lower-case words of its sentences that match across languages without any knowledge of them.

    Rows are retrieval examples of both sides. Anchors are (1) words with a digit; (2) words that a sentence of that
    side writes with a capital after its first word: names, in German all nouns; (3) words that occur in the same
    letters on both sides and have a capital on either, wherever they stand: names that only ever begin a sentence, and
    with them a few function words ("in", "was"). What is left are small words, cognates and loans. (2) and (3) find
    nothing in scripts without case but Latin words among them.
    """
    capital: dict[str, set[str]] = {"source": set(), "target": set()}  # anywhere
    names: dict[str, set[str]] = {"source": set(), "target": set()}  # after the first word of a sentence
    seen: dict[str, set[str]] = {"source": set(), "target": set()}
    for row in rows:
        side, text, end = row["side"], row["text"], None
        for match in TOKEN.finditer(text):
            word = match.group()
            first = end is None or SENTENCE_END.search(text, end, match.start())
            end = match.end()
            seen[side].add(word.lower())
            if word[0] != word[0].lower():
                capital[side].add(word.lower())
                if not first:
                    names[side].add(word.lower())
    shared = seen["source"] & seen["target"] & (capital["source"] | capital["target"])
    return {side: names[side] | shared | {word for word in words if DIGIT.search(word)} for side, words in seen.items()}


def _threshold(dev: list[dict], anchors: bool) -> float:
    matched = {row["id"]: row["match"] for row in dev if row["side"] == "source" and row["match"] is not None}
    best, right = (0.0, math.inf), 0
    for rank, (similarity, source, target) in enumerate(_mutual(dev, anchors), 1):
        right += matched.get(source) == target
        f1 = 2 * right / (rank + len(matched))
        if f1 > best[0]:
            best = (f1, similarity)
    return best[1]


def _mutual(rows: list[dict], anchors: bool) -> list[tuple[float, str, str]]:
    words = _words(rows, anchors)
    similarity, forward = _best(words["source"], words["target"])
    _, backward = _best(words["target"], words["source"])
    ids = {side: [row["id"] for row in rows if row["side"] == side] for side in words}
    pairs = [
        (float(similarity[i]), ids["source"][i], ids["target"][j])
        for i, j in enumerate(forward.tolist())
        if similarity[i] > 0 and backward[j] == i
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))


def _words(rows: list[dict], anchors: bool) -> dict[str, list[list[str]]]:
    """side -> the sorted set of words of each of its sentences."""
    without = {"source": set(), "target": set()} if anchors else anchors_of(rows)
    return {
        side: [sorted(set(tokens(row["text"])) - left_out) for row in rows if row["side"] == side]
        for side, left_out in without.items()
    }


def _best(queries: list[list[str]], database: list[list[str]], chunk: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """(best Jaccard, its row in the database) of each query: float (q,), int (q,). Sparse, in chunks of queries.

    queries, database: the different words of each text.
    """
    from scipy.sparse import csr_matrix

    sets = [queries, database]
    seen = Counter(word for words in sets[1] for word in words)
    words = {word: index for index, word in enumerate(sorted(seen)) if seen[word] <= FREQUENT}
    sizes = [np.array([len(words) for words in side], dtype=float) for side in sets]

    def matrix(side: list[list[str]]):
        columns = [[words[word] for word in row if word in words] for row in side]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in columns])])
        flat = np.array([column for row in columns for column in row], dtype=int)
        return csr_matrix((np.ones(len(flat)), flat, starts), shape=(len(side), len(seen)))

    left, right = matrix(sets[0]), matrix(sets[1]).T.tocsc()
    similarity, found = np.zeros(len(queries)), np.zeros(len(queries), dtype=int)
    for start in range(0, len(queries), chunk):
        shared = (left[start : start + chunk] @ right).tocsr()
        for row in range(shared.shape[0]):
            edges = slice(shared.indptr[row], shared.indptr[row + 1])
            columns, common = shared.indices[edges], shared.data[edges]
            if len(columns):
                jaccard = common / (sizes[0][start + row] + sizes[1][columns] - common)
                top = jaccard.max()
                similarity[start + row], found[start + row] = top, columns[jaccard == top].min()
    return similarity, found
