"""Sentence retrieval with an encoder that was never trained for it: Tatoeba (nearest neighbour), BUCC (mining).

Settings as XTREME and jiant score them: the block at 14/24 of the depth, mean over all pieces (`<s>` and `</s>`
included), L2-normalised, cosine; BUCC with the ratio margin of Artetxe and Schwenk 2019 (k = 4) and the threshold
that is best on the development pools.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from xstilts.data import kinds
from xstilts.errors import UserError
from xstilts.evaluation.predict import TOKENS_PER_BATCH, inference, length_batches

QUERIES, DATABASE = 1024, 32768  # rows of one block of similarities: 128 MiB in float32
FINAL_NORMS = ("encoder.LayerNorm", "final_norm")  # xlm-roberta-xl, modernbert
SPARE = 4  # neighbours kept beyond k, for re-scoring in float64


def layer_at(relative_depth: float, layers: int) -> int:
    """The block nearest to `relative_depth` (0-1) of a model of `layers` blocks, ties up.

    Block numbers start at 1. The 0.001 lets a rounded 0.58333 count as the tie that 14/24 of 6 blocks is (3.5 -> 4).
    """
    return min(max(math.floor(relative_depth * layers + 0.5 + 1e-3), 1), layers)


class Embedder:
    """Embeds texts with one block of a model; `tokens` counts the real tokens embedded so far.

    `layer`: a block number from 1; `pooling`: "mean", the only one; `precision`: "fp32" or "bf16". The blocks of a
    `pre_norm` model (its catalog identity) leave states of unbounded scale, made to be read through the final layer
    norm: it is applied to the chosen block's states (the last block's have it already).
    """

    def __init__(self, model, layer: int, pooling: str, max_length: int, precision: str, pre_norm: bool = False):
        if pooling != "mean":
            raise UserError(f"options: pooling: {pooling!r} is unknown; allowed: mean")
        self.model, self.layer, self.precision = model, layer, precision
        self.hyper = {"max_length": max_length}
        self.norm = final_norm(model.encoder) if pre_norm else None
        self.tokens = 0

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.encoder.parameters()).device

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, hidden), rows of length 1. Equal texts are embedded once: their rows are equal to the bit."""
        unique = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        kind = kinds.get("retrieval")
        features = kind.encode([{"text": text} for text in unique], self.model.tokenizer, None, self.hyper, {}, False)
        rows = [None] * len(features)
        with inference(self.model, self.precision) as device:
            for numbers in length_batches(features, TOKENS_PER_BATCH):
                batch = kind.collate([features[number] for number in numbers], self.model.pad_id)
                self.tokens += int(batch["attention_mask"].sum())
                mask = batch["attention_mask"].to(device)
                states = self._states(batch["input_ids"].to(device), mask).float()
                weights = mask.unsqueeze(-1).float()
                means = (states * weights).sum(1) / weights.sum(1)
                vectors = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
                for number, vector in zip(numbers, vectors, strict=True):
                    rows[number] = vector
        return np.stack(rows)[[unique[text] for text in texts]]

    def _states(self, input_ids, mask):
        states = self.model.hidden_states(input_ids, mask, self.layer)
        read_already = self.norm is None or self.layer == len(states) - 1
        return states[self.layer] if read_already else self.norm(states[self.layer])


def final_norm(encoder) -> torch.nn.Module:
    """The layer norm behind the last block of a pre-norm encoder, by its name in transformers."""
    modules = dict(encoder.named_modules())
    for name in FINAL_NORMS:
        if name in modules:
            return modules[name]
    raise UserError(
        f"identity: pre_norm: true, but the encoder has no {' or '.join(FINAL_NORMS)}: correct its catalog entry"
    )


def embed(model, texts, layer: int, pooling: str, max_length: int, precision: str, pre_norm=False) -> np.ndarray:
    """float32 (n, hidden), L2-normalised: see `Embedder`."""
    return Embedder(model, layer, pooling, max_length, precision, pre_norm)(texts)


def neighbours(queries: np.ndarray, database: np.ndarray, k: int, device="cpu") -> tuple[np.ndarray, np.ndarray]:
    """The `k` rows of `database` with the largest dot product with each query, exact: (values, indices), (n, k).

    Best first, ties by lowest index; k is cut to the size of the database. Values are float64: candidates are found
    in float32 blocks, then scored again, so that neither blocks nor threads decide between near-equal ones.
    """
    k = min(k, len(database))
    values, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    blocks = [
        (first, torch.from_numpy(database[first : first + DATABASE]).to(device))
        for first in range(0, len(database), DATABASE)
    ]
    for first in range(0, len(queries), QUERIES):
        rows = queries[first : first + QUERIES]
        block_rows, found = torch.from_numpy(rows).to(device), []
        for start, block in blocks:
            best = (block_rows @ block.T).topk(min(k + SPARE, len(block)))
            found.append((best.values, best.indices + start))
        best, chosen = torch.cat([part[0] for part in found], 1), torch.cat([part[1] for part in found], 1)
        chosen = chosen.gather(1, best.topk(min(k + SPARE, len(database))).indices).cpu().numpy()
        exact = np.einsum("nd,nkd->nk", rows.astype(np.float64), database[chosen].astype(np.float64))
        order = np.lexsort((chosen, -exact))[:, :k]
        values[first : first + len(rows)] = np.take_along_axis(exact, order, 1)
        indices[first : first + len(rows)] = np.take_along_axis(chosen, order, 1)
    return values, indices


def nearest(queries: np.ndarray, database: np.ndarray, device="cpu") -> np.ndarray:
    """Index of the nearest row of `database` for each query, int64 (n,); of equal rows, the first."""
    first: dict[bytes, int] = {}
    for number, row in enumerate(database):
        first.setdefault(row.tobytes(), number)
    kept = np.fromiter(first.values(), np.int64)
    return kept[neighbours(queries, database[kept], 1, device)[1][:, 0]]


def margin_pairs(source: np.ndarray, target: np.ndarray, k: int, device="cpu") -> list[tuple[float, int, int]]:
    """Greedy one-to-one pairs (score, source row, target row), best first; ties by lowest rows.

    Score = cosine / ((mean cosine of the source's k neighbours + mean cosine of the target's) / 2): the ratio margin
    of Artetxe and Schwenk 2019. Candidates are each row's best-scored neighbour, in both directions (LASER's "max").
    """
    forward, forward_rows = neighbours(source, target, k, device)
    backward, backward_rows = neighbours(target, source, k, device)
    source_mean, target_mean = forward.mean(1), backward.mean(1)
    forward_scores = forward / ((source_mean[:, None] + target_mean[forward_rows]) / 2)
    backward_scores = backward / ((target_mean[:, None] + source_mean[backward_rows]) / 2)
    rows = np.arange(len(source)), np.arange(len(target))
    best = forward_scores.argmax(1), backward_scores.argmax(1)
    scores = np.concatenate([forward_scores[rows[0], best[0]], backward_scores[rows[1], best[1]]])
    left = np.concatenate([rows[0], backward_rows[rows[1], best[1]]])
    right = np.concatenate([forward_rows[rows[0], best[0]], rows[1]])
    pairs, seen_left, seen_right = [], set(), set()
    for number in np.lexsort((right, left, -scores)):
        a, b = int(left[number]), int(right[number])
        if a not in seen_left and b not in seen_right:
            seen_left.add(a)
            seen_right.add(b)
            pairs.append((float(scores[number]), a, b))
    return pairs


def mine(embedder: Embedder, source: Sequence[dict], target: Sequence[dict], k: int) -> list[tuple[float, str, str]]:
    """Candidate pairs (score, source id, English id) of the two sides of a BUCC pool, best first.

    Equal sentences of a side are mined once and every one of their ids gets the pair, as jiant does (XTREME drops
    repeated sentences).
    """
    ids: tuple[dict[str, list[str]], ...] = ({}, {})
    for side, rows in zip(ids, (source, target), strict=True):
        for row in rows:
            side.setdefault(row["text"], []).append(row["id"])
    left, right = (list(side.values()) for side in ids)
    pairs = margin_pairs(*(embedder(list(side)) for side in ids), k, embedder.device)
    return [(score, one, other) for score, a, b in pairs for one in left[a] for other in right[b]]


def best_threshold(candidates: Sequence[tuple[float, str, str]], gold: set[tuple[str, str]]) -> tuple[float, float]:
    """(threshold, F1 0-100): the cut of the candidates (best first) with the highest F1 against `gold`.

    The threshold lies midway between the scores on both sides of the cut (the last score if all are kept), as in
    LASER's bucc.py; without a correct candidate it is infinite: nothing is mined.
    """
    threshold, best, correct = math.inf, 0.0, 0
    for number, (score, *pair) in enumerate(candidates):
        correct += tuple(pair) in gold
        f1 = 2 * correct / (number + 1 + len(gold))
        if f1 > best:
            following = candidates[number + 1][0] if number + 1 < len(candidates) else score
            threshold, best = (score + following) / 2, f1
    return threshold, 100 * best


def above(candidates: Sequence[tuple[float, str, str]], threshold: float) -> list[tuple[str, str]]:
    """The (source id, English id) pairs that score at least `threshold`, sorted by ids."""
    return sorted((left, right) for score, left, right in candidates if score >= threshold)
