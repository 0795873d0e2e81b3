"""Pairs of sentences from their vectors: nearest neighbours (Tatoeba) and mining by margin (BUCC).

As XTREME and jiant do it: cosine; for BUCC the ratio margin of Artetxe and Schwenk 2019, both directions, greedy
one-to-one pairs, and the threshold that is best on the development pools. `found` is everywhere what
`search.both_directions` gave for the vectors of a pool's two sides: neighbours of source rows, then of target rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xstilts import files
from xstilts.errors import UserError

DUPLICATES = ("expand", "drop")
SIDES, FIELDS = ("source", "target"), ("id", "side", "text", "match")
Candidates = list[tuple[float, str, str]]  # (score, source id, English id), best first


@dataclass(frozen=True)
class Pool:
    """Two sides of sentences, `source` (the other language) and `target` (English): rows {id, text, match}.

    `texts`: each side's different sentences in order of first occurrence -> numbers of the rows that hold them. They
    are what is embedded and searched: equal sentences have one vector.
    """

    source: list[dict]
    target: list[dict]
    texts: tuple[dict[str, list[int]], dict[str, list[int]]]

    @classmethod
    def of(cls, rows: Sequence[dict], where: str | Path) -> Pool:
        """The pool of a prepared file's rows; `where` names it in errors. White space around texts does not count.

        Raises UserError for no rows, a row without a key or of an unknown side, rows of one side only, and partners
        that only one side's rows name.
        """
        for number, row in enumerate(rows, 1):
            if missing := [key for key in FIELDS if key not in row]:
                raise UserError(f"{where}: row {number}: no {', '.join(missing)}; needed: {', '.join(FIELDS)}")
            if row["side"] not in SIDES:
                raise UserError(f"{where}: row {number}: side: {row['side']!r}; allowed: {', '.join(SIDES)}")
        sides = tuple([row for row in rows if row["side"] == side] for side in SIDES)
        if not all(sides):
            held = "rows of one side only" if rows else "no rows"
            raise UserError(f"{where}: holds {held}; retrieval needs source and target rows: prepare it again")
        partners = [any(row["match"] is not None for row in side) for side in sides]
        if partners[0] != partners[1]:
            raise UserError(
                f"{where}: no {SIDES[partners.index(False)]} row has a partner (match), while rows of the other side "
                "have: name partners on both sides: prepare it again"
            )
        texts = ({}, {})
        for side, numbers in zip(sides, texts, strict=True):
            for number, row in enumerate(side):
                numbers.setdefault(row["text"].strip(), []).append(number)
        return cls(*sides, texts)

    @property
    def gold(self) -> set[tuple[str, str]]:
        """The gold pairs (source id, English id)."""
        return {(row["id"], row["match"]) for row in self.source if row["match"] is not None}


def read(path: Path, mining: bool) -> Pool:
    """The pool of one prepared file. Gold pairs alone are refused for `mining`: a UserError that says why."""
    pool = Pool.of(files.read_jsonl(path), path)
    if not pool.gold:
        raise UserError(f"{path}: no sentence has a partner (match), so that nothing can be found: prepare it again")
    if mining and all(row["match"] is not None for row in (*pool.source, *pool.target)):
        raise UserError(
            f"{path}: every sentence has a partner: gold pairs alone are not a mining pool, F1 on them would be far "
            "too high. Add the pools' sentences without a partner (match: null) on both sides; for BUCC take the "
            "shared task's files (docs/data.md)"
        )
    return pool


def nearest(pool: Pool, found) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the nearest sentences, int64: (of the source side for each target row, of the target side for
    each source row). Of equal sentences the first row."""
    result = []
    for queries, database, (_, indices) in ((1, 0, found[1]), (0, 1, found[0])):
        first = [numbers[0] for numbers in pool.texts[database].values()]
        rows = np.empty(len((pool.source, pool.target)[queries]), np.int64)
        for numbers, index in zip(pool.texts[queries].values(), indices[:, 0], strict=True):
            rows[numbers] = first[index]
        result.append(rows)
    return result[0], result[1]


def accuracies(pool: Pool, found) -> tuple[float, float, int]:
    """(English -> other, other -> English, queries): percent of sentences with a partner whose nearest one it is.

    (0.0, 0.0, 0) for a pool without partners.
    """
    to_source, to_target = nearest(pool, found)
    shares = []
    for queries, database, rows in ((pool.target, pool.source, to_source), (pool.source, pool.target, to_target)):
        asked = [(query["match"], row) for query, row in zip(queries, rows, strict=True) if query["match"] is not None]
        right = [database[row]["id"] == match for match, row in asked]
        shares.append(100 * sum(right) / len(right) if right else 0.0)
    return shares[0], shares[1], len(right)


def margin_pairs(found) -> list[tuple[float, int, int]]:
    """Greedy one-to-one pairs (score, source, target), best first; ties by lowest numbers.

    Score = cosine / ((mean cosine of the source's k neighbours + mean cosine of the target's) / 2): the ratio margin
    of Artetxe and Schwenk 2019. Candidates are each sentence's best-scored neighbour, in both directions (LASER's
    "max"); pairs that do not score above 0 are left out, as there.
    """
    (forward, forward_rows), (backward, backward_rows) = found
    source_mean, target_mean = forward.mean(1), backward.mean(1)
    forward_scores = forward / ((source_mean[:, None] + target_mean[forward_rows]) / 2)
    backward_scores = backward / ((target_mean[:, None] + source_mean[backward_rows]) / 2)
    rows = np.arange(len(forward)), np.arange(len(backward))
    best = forward_scores.argmax(1), backward_scores.argmax(1)
    scores = np.concatenate([forward_scores[rows[0], best[0]], backward_scores[rows[1], best[1]]])
    left = np.concatenate([rows[0], backward_rows[rows[1], best[1]]])
    right = np.concatenate([forward_rows[rows[0], best[0]], rows[1]])
    pairs, seen_left, seen_right = [], set(), set()
    for number in np.lexsort((right, left, -scores)):
        a, b, score = int(left[number]), int(right[number]), float(scores[number])
        if a not in seen_left and b not in seen_right and score > 0:
            seen_left.add(a)
            seen_right.add(b)
            pairs.append((score, a, b))
    return pairs


def mine(pool: Pool, found, duplicates: str) -> Candidates:
    """Candidate pairs of a pool by id. Equal sentences of a side are mined once; then, by `duplicates`,

    expand: every one of their ids gets the pair (jiant); drop: pairs with a sentence that occurs more than once on
    its side vanish (XTREME's read_sent2id, third_party/utils_retrieve.py).
    """
    if duplicates not in DUPLICATES:
        raise UserError(f"duplicates: {duplicates!r} is unknown; allowed: {', '.join(DUPLICATES)}")
    left, right = (list(side.values()) for side in pool.texts)
    return [
        (score, pool.source[one]["id"], pool.target[other]["id"])
        for score, a, b in margin_pairs(found)
        if duplicates == "expand" or len(left[a]) == len(right[b]) == 1
        for one in left[a]
        for other in right[b]
    ]


def best_threshold(candidates: Candidates, gold: set[tuple[str, str]]) -> tuple[float, float]:
    """(threshold, F1 0-100): the cut of the candidates (best first) with the highest F1 against `gold`.

    The threshold lies midway between the scores on both sides of the cut, as in LASER's and XTREME's bucc_optimize.
    That fails with an IndexError where keeping all is best (here: the last score), may cut between equal scores,
    which `above` cannot do (here: never, so that F1 is what the threshold gives), and answers 0 where no candidate is
    correct, so that all test candidates are taken (here: infinity, none).
    """
    threshold, best, correct = math.inf, 0.0, 0
    for number, (score, *pair) in enumerate(candidates):
        correct += tuple(pair) in gold
        following = candidates[number + 1][0] if number + 1 < len(candidates) else None
        f1 = 2 * correct / (number + 1 + len(gold))
        if f1 > best and score != following:
            threshold, best = score if following is None else (score + following) / 2, f1
    return threshold, 100 * best


def above(candidates: Candidates, threshold: float) -> list[tuple[str, str]]:
    """The (source id, English id) pairs that score at least `threshold`, sorted by ids."""
    return sorted((left, right) for score, left, right in candidates if score >= threshold)


def f1(pairs: Sequence[tuple[str, str]], gold: set[tuple[str, str]]) -> float:
    """F1 (0-100) of different pairs against the gold pairs."""
    return 100 * 2 * len(gold.intersection(pairs)) / (len(pairs) + len(gold)) if gold else 0.0
