"""Models as victims of `xstilts.attacks`: score, loss and counts of each example from predictions or embeddings.

score (0-1) follows the task's official metric on one example. loss is what the search raises:
pair       1 - probability of the gold label
tagging    1 - mean probability of the gold tags
span_qa    1 - F1 of the answer x its probability among the n best (a surer right answer is a lower loss)
retrieval  highest cosine with another sentence of the pool - cosine with the gold one
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from xstilts.data.kinds.sequences import clean
from xstilts.evaluation import metrics

RESULTS = 200_000  # results that are kept, some 400 bytes each
PIECES = 1 << 22  # characters of texts whose pieces are kept
ROWS = 8  # queries whose cosines are computed at once, always: a product's bits can depend on its shape
FIELDS = {
    "pair": ("text_a", "text_b", "label"),
    "tagging": ("tokens", "tags"),
    "span_qa": ("question", "context", "answers"),
}


class _Victim:
    """Answers from a cache where the same texts were asked before with the same gold.

    `fields`: those of an example that its result depends on.
    """

    def __init__(self, tokenizer, fields: tuple[str, ...], most: int = RESULTS):
        self._tokenizer, self._fields, self._most = tokenizer, fields, most
        self._results: dict[bytes, dict] = {}
        self._ids: dict[str, list[int]] = {}
        self._characters = 0

    def __call__(self, examples: Sequence[dict]) -> list[dict]:
        """One result an example: see `xstilts.attacks.engine.Victim`. The caller must not change them."""
        keys = [self._key(example) for example in examples]
        known, kept = {}, self._results
        fresh = {}
        for key, example in zip(keys, examples, strict=True):
            found = kept.get(key)
            if found is not None:
                known[key] = found
            else:
                fresh[key] = example
        if fresh:
            known |= zip(fresh, self._measure(list(fresh.values())), strict=True)
            for key in list(kept)[: max(0, len(kept) + len(fresh) - self._most)]:  # the oldest
                del kept[key]
            for key in fresh:
                kept[key] = known[key]
        return [known[key] for key in keys]

    def same_inputs(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (before, after) True when both become the same pieces: the tokenizer's normaliser undid it."""
        if self._characters > PIECES:
            self._ids, self._characters = {}, 0
        ids = self._ids
        fresh = [text for text in dict.fromkeys(text for pair in pairs for text in pair) if text not in ids]
        if fresh:
            encoded = self._tokenizer.encode_batch_fast([clean(text) for text in fresh], add_special_tokens=False)
            for text, found in zip(fresh, encoded, strict=True):
                ids[text] = found.ids
                self._characters += len(text)
        return [ids[before] == ids[after] for before, after in pairs]

    def _key(self, example: dict) -> bytes:
        """A digest of what the result depends on: a context or a sentence's tags would fill the memory."""
        return blake2b(repr([example.get(name) for name in self._fields]).encode(), digest_size=16).digest()

    def _measure(self, examples: list[dict]) -> list[dict]:
        raise NotImplementedError


class PredictorVictim(_Victim):
    """A trained model: `predict(examples)` gives predictions as `xstilts.data.kinds` describes them.

    `labels`, `options`: the task's; `language` chooses MLQA's normalisation.
    """

    def __init__(self, predict: Callable, tokenizer, kind: str, labels: list[str], options: dict, language: str):
        super().__init__(tokenizer, FIELDS[kind])
        self._predict, self._options, self._language = predict, options, language
        self._index = {label: number for number, label in enumerate(labels)}
        self._result = {"pair": self._pair, "tagging": self._tagging, "span_qa": self._span_qa}[kind]

    def _measure(self, examples: list[dict]) -> list[dict]:
        predictions = self._predict(examples)
        return [self._result(example, found) for example, found in zip(examples, predictions, strict=True)]

    def _pair(self, example: dict, found: dict) -> dict:
        gold = example["label"]
        return {"score": float(found["label"] == gold), "loss": 1 - float(found["scores"][gold])}

    def _tagging(self, example: dict, found: dict) -> dict:
        tags = example["tags"]
        gold = [float(row[self._index[tag]]) for row, tag in zip(found["scores"], tags, strict=True)]
        counts = metrics.statistics("tagging", self._options, self._language, [tags], [found["tags"]])["f1"]
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
    `vectors`: the pool's, where they are known. `counts`: for tasks scored by F1 (BUCC), [correct, 1, 1]: each query
    retrieves one sentence and has one partner, so that F1 here is the accuracy of the queries and not the official
    mining score with its threshold.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], np.ndarray],
        tokenizer,
        pool: Sequence[dict],
        counts: bool,
        vectors: np.ndarray | None = None,
    ):
        super().__init__(tokenizer, ("text", "match"))
        self._embed, self._counts = embed, counts
        vectors = embed([row["text"] for row in pool]) if vectors is None else vectors
        self._pool = np.ascontiguousarray(vectors.astype(np.float64).T)
        self._row = {row["id"]: number for number, row in enumerate(pool)}

    def _measure(self, examples: list[dict]) -> list[dict]:
        queries = self._embed([example["text"] for example in examples]).astype(np.float64)
        gold = np.array([self._row[example["match"]] for example in examples])
        results = []
        for first in range(0, len(examples), ROWS):
            rows = np.zeros((ROWS, queries.shape[1]))
            chosen = slice(first, first + ROWS)
            count = len(queries[chosen])
            rows[:count] = queries[chosen]
            results += self._compared((rows @ self._pool)[:count], gold[chosen])
        return results

    def _compared(self, cosines: np.ndarray, gold: np.ndarray) -> list[dict]:
        """Results of queries by their cosines (n, pool); `gold` (n,): the row of each one's partner."""
        right = cosines.argmax(1) == gold
        places = np.arange(len(gold)), gold
        own = cosines[places]
        cosines[places] = -np.inf
        others = cosines.max(1)
        losses = np.where(np.isneginf(others), -own, others - own)  # a pool of one sentence
        results = [{"score": float(hit), "loss": float(loss)} for hit, loss in zip(right, losses, strict=True)]
        if self._counts:
            for result in results:
                result["counts"] = [int(result["score"]), 1, 1]
        return results
