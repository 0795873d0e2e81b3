"""Models as victims of `xstilts.attacks`: score, loss and counts of each example from predictions or embeddings.

score (0-1) follows the task's official metric on one example. loss is what the search raises:
pair       1 - probability of the gold label
tagging    1 - mean probability of the gold tags
span_qa    1 - F1 of the answer x its probability among the n best (a surer right answer is a lower loss)
retrieval  highest cosine with another sentence of the pool - cosine with the gold one
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from xstilts.data.kinds.sequences import clean
from xstilts.evaluation import metrics


class _Victim:
    """Answers from a cache where the same example (text and gold) was asked before."""

    def __init__(self, tokenizer):
        self._tokenizer, self._results, self._ids = tokenizer, {}, {}

    def __call__(self, examples: Sequence[dict]) -> list[dict]:
        """One result an example: see `xstilts.attacks.engine.Victim`."""
        keys = [json.dumps(example, sort_keys=True) for example in examples]
        fresh = {key: row for key, row in zip(keys, examples, strict=True) if key not in self._results}
        if fresh:
            self._results |= zip(fresh, self._measure(list(fresh.values())), strict=True)
        return [self._results[key] for key in keys]

    def same_input(self, before: str, after: str) -> bool:
        """True when both texts become the same pieces: the tokenizer's normaliser undid the change."""
        if before not in self._ids:
            self._ids = {before: self._pieces(before)}
        return self._ids[before] == self._pieces(after)

    def _pieces(self, text: str) -> list[int]:
        return self._tokenizer.encode(clean(text), add_special_tokens=False).ids

    def _measure(self, examples: list[dict]) -> list[dict]:
        raise NotImplementedError


class PredictorVictim(_Victim):
    """A trained model: `predict(examples)` gives predictions as `xstilts.data.kinds` describes them.

    `labels`, `options`: the task's; `language` chooses MLQA's normalisation.
    """

    def __init__(self, predict: Callable, tokenizer, kind: str, labels: list[str], options: dict, language: str):
        super().__init__(tokenizer)
        self._predict, self._options, self._language = predict, options, language
        self._index = {label: number for number, label in enumerate(labels)}
        self._result = {"pair": self._pair, "tagging": self._tagging, "span_qa": self._span_qa}[kind]

    def _measure(self, examples: list[dict]) -> list[dict]:
        predictions = self._predict(examples)
        return [self._result(example, found) for example, found in zip(examples, predictions, strict=True)]

    def _pair(self, example: dict, found: dict) -> dict:
        return {
            "score": float(found["label"] == example["label"]),
            "loss": 1 - float(found["scores"][example["label"]]),
        }

    def _tagging(self, example: dict, found: dict) -> dict:
        gold = [float(row[self._index[tag]]) for row, tag in zip(found["scores"], example["tags"], strict=True)]
        counts = metrics.statistics("tagging", self._options, self._language, [example["tags"]], [found["tags"]])["f1"]
        correct, predicted, total = (int(value) for value in counts[0])
        # a sentence without chunks, and none predicted, is right
        score = 2 * correct / (predicted + total) if predicted + total else 1.0
        return {"score": score, "loss": 1 - sum(gold) / max(len(gold), 1), "counts": [correct, predicted, total]}

    def _span_qa(self, example: dict, found: dict) -> dict:
        answers = [answer["text"] for answer in example["answers"]]
        rows = metrics.statistics("span_qa", self._options, self._language, [answers], [found["text"]])
        score = float(rows["f1"][0, 0])
        return {"score": score, "loss": 1 - score * float(found["score"])}


class RetrievalVictim(_Victim):
    """An encoder and a pool: a query is right when its gold partner is its nearest neighbour (cosine; ties: first row).

    `pool`: rows {"id", "text"}; a query's `match` is the id of its partner. `embed(texts)` gives rows of length 1.
    `counts`: for tasks scored by F1 (BUCC), [correct, 1, 1]: each query retrieves one sentence and has one partner, so
    that F1 here is the accuracy of the queries and not the official mining score with its threshold.
    """

    def __init__(self, embed: Callable[[list[str]], np.ndarray], tokenizer, pool: Sequence[dict], counts: bool):
        super().__init__(tokenizer)
        self._embed, self._counts = embed, counts
        self._pool = embed([row["text"] for row in pool]).astype(np.float64)
        self._row = {row["id"]: number for number, row in enumerate(pool)}

    def _measure(self, examples: list[dict]) -> list[dict]:
        cosines = self._embed([example["text"] for example in examples]).astype(np.float64) @ self._pool.T
        results = []
        for example, row in zip(examples, cosines, strict=True):
            gold = self._row[example["match"]]
            right = int(row.argmax() == gold)
            others = np.delete(row, gold)
            loss = float(others.max() - row[gold]) if len(others) else -float(row[gold])
            results.append({"score": float(right), "loss": loss} | ({"counts": [right, 1, 1]} if self._counts else {}))
        return results
