"""XTREME's official metrics over predictions in memory, as statistics of each example that add up to the score.

Sources: `evaluate.py` of google-research/xtreme and what it calls. In-memory forms of gold and predictions:
pair: label names; choice: indices; tagging: lists of tags; span_qa: gold = list of answer texts (empty: unanswerable),
prediction = text; retrieval `mining: nearest`: row indices; `mining: margin`: (source id, target id) pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from xstilts.evaluation import qa_metrics, tagging_metrics


def statistics(kind: str, options: dict, language: str, gold: Sequence, predicted: Sequence) -> dict[str, np.ndarray]:
    """{metric: array}, one row an example. `aggregate` of an array is the official score.

    accuracy: (n, 1) integers, 1 = right. exact_match, f1 of span_qa: (n, 1) floats 0-1. f1 of tagging and `mining:
    margin`: (n, 3) integers [correct, predicted, gold]; for `mining: margin` a row is a source sentence that has a
    partner (see `pair_counts`).
    """
    if kind == "tagging":
        return {"f1": tagging_metrics.counts(gold, predicted)}
    if kind == "span_qa":
        return qa_metrics.scores(gold, predicted, options.get("normalisation", "squad"), language)
    if kind == "retrieval" and options["mining"] == "margin":
        return {"f1": pair_counts(gold, predicted)}
    equal = [g == p for g, p in zip(gold, predicted, strict=True)]
    return {"accuracy": np.array(equal, dtype=np.int64).reshape(-1, 1)}


def score(kind: str, options: dict, language: str, gold: Sequence, predicted: Sequence) -> dict[str, float]:
    """{metric: 0-100} of the predictions of one language."""
    return {name: aggregate(rows) for name, rows in statistics(kind, options, language, gold, predicted).items()}


def pair_counts(gold: Iterable[tuple[str, str]], predicted: Iterable[tuple[str, str]]) -> np.ndarray:
    """[correct, predicted, gold] pairs for each source sentence with a partner, in order of its id; shape (n, 3).

    Repeated pairs count once, as in XTREME. A predicted pair whose source sentence has no partner is counted in the
    row that a hash of its source id chooses: rows then are the same sentences for every system, as a paired bootstrap
    needs, and their sums stay the official counts.
    """
    gold, predicted = set(gold), set(predicted)
    rows = {source: index for index, source in enumerate(sorted({source for source, _ in gold}))}
    counts = np.zeros((len(rows), 3), dtype=np.int64)
    for pair in gold:
        counts[rows[pair[0]], 2] += 1
    for pair in predicted:
        row = rows.get(pair[0])
        if row is None:
            row = int.from_bytes(hashlib.sha256(pair[0].encode()).digest()[:8], "big") % len(rows)
        counts[row, 1] += 1
        counts[row, 0] += pair in gold
    return counts


def precision_recall_f1(counts: np.ndarray) -> dict[str, float]:
    """{"f1", "precision", "recall"}, 0-100, from rows of [correct, predicted, gold]; 0 where a denominator is 0."""
    correct, predicted, gold = (int(value) for value in counts.sum(axis=0))
    precision = correct / predicted if predicted else 0.0
    recall = correct / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def aggregate(rows: np.ndarray) -> float:
    """The official score, 0-100, of per-example statistics: the mean of (n, 1) values or the F1 of (n, 3) counts.

    Equal to `evaluate.py` in the last bit: it divides first for accuracy and multiplies first for answers.
    """
    if rows.shape[1] == 3:
        return precision_recall_f1(rows)["f1"]
    if np.issubdtype(rows.dtype, np.integer):
        return int(rows.sum()) / len(rows) * 100
    return 100 * total(rows[:, 0]) / len(rows)


def total(values: Sequence[float] | np.ndarray) -> float:
    """The sum of at least one value, added one after another, which is how the official scripts round.

    `np.sum` adds in pairs and `sum` of Python 3.12 and later carries the rounding error along: other last bits.
    """
    return float(np.add.accumulate(np.asarray(values, dtype=np.float64))[-1])


def mean(values: Iterable[float]) -> float:
    """The plain mean of at least one value, added in the order given (official means depend on it in the last bit)."""
    values = list(values)
    return total(values) / len(values)
