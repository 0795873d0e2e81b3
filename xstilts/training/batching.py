"""Batches of a fixed number of features with little padding, in an order that a key decides, and their parts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from xstilts.data.kinds.tagging import IGNORED
from xstilts.evaluation.predict import length_batches, widths

WINDOW = 50  # batches that are sorted by length together: random batches run at half the rate (docs/performance.md)

Part = tuple[list[dict], float]  # features that are computed at once, and their share of the batch's loss


def epoch(lengths: Sequence[int], size: int, key: str) -> list[list[int]]:
    """Indices of one epoch in batches of `size` (the last one cut may be smaller), each of similar lengths.

    Shuffle, sort windows of 50 batches by length, shuffle the batches; `key` decides both shuffles.
    """
    generator, lengths = random.Random(key), np.asarray(lengths)
    order, batches = _shuffled(generator, len(lengths)), []
    for start in range(0, len(order), WINDOW * size):
        window = order[start : start + WINDOW * size]
        window = window[np.argsort(lengths[window], kind="stable")].tolist()
        batches += [window[i : i + size] for i in range(0, len(window), size)]
    return [batches[number] for number in _shuffled(generator, len(batches))]


def _shuffled(generator: random.Random, size: int) -> np.ndarray:
    """0 to `size` - 1 in a random order, by 64 random bits a number: faster than `shuffle` for large sets."""
    return np.argsort(np.frombuffer(generator.randbytes(8 * size), "<u8"), kind="stable")


def stream(lengths: Sequence[int], size: int, key: str, start: int = 0) -> Iterator[list[int]]:
    """Batches without end, epoch after epoch, each in an order of its own; the first `start` of them are left out."""
    done, skip = divmod(start, -(-len(lengths) // size) or 1)
    for number in count(done):
        yield from epoch(lengths, size, f"{key}/{number}")[skip:]
        skip = 0


def shares(features: Sequence[dict], tokens_per_batch: int, ranks: int = 1) -> list[list[Part]]:
    """A batch's parts for each of `ranks` processes: [(features, weight)] of at most `tokens_per_batch` padded tokens.

    Every rank gets as many parts as the others (they talk to each other in each), and like numbers of features of like
    lengths; where there are too few, a rank gets a feature once more with weight 0. The weights of all ranks add up to
    1 and are shares of what the loss is a mean over (labelled pieces for tagging, else features), so that the weighted
    sum of the parts' losses is the loss of the whole batch, however many ranks there are.
    """
    parts = [
        [[own[i] for i in numbers] for numbers in length_batches(own, tokens_per_batch)]
        for own in (_dealt(features, ranks) if ranks > 1 else [features])
    ]
    most = max(map(len, parts))
    spare = min(features, key=lambda feature: len(feature["input_ids"])) if ranks > 1 else None
    for own in parts:
        while len(own) < most and own and len(widest := max(own, key=len)) > 1:
            at, half = own.index(widest), len(widest) // 2
            own[at : at + 1] = [widest[:half], widest[half:]]
    sizes = [[sum(map(terms, part)) for part in own] for own in parts]
    total = sum(map(sum, sizes)) or 1
    return [
        [(part, size / total) for part, size in zip(own, of_own, strict=True)] + [([spare], 0.0)] * (most - len(own))
        for own, of_own in zip(parts, sizes, strict=True)
    ]


def _dealt(features: Sequence[dict], ranks: int) -> list[list[dict]]:
    """The features dealt out like cards, longest first, to and fro: 0 1 1 0 0 1 ..."""
    hands: list[list[dict]] = [[] for _ in range(ranks)]
    for turn, number in enumerate(np.argsort(-widths(features), kind="stable").tolist()):
        lap, place = divmod(turn, ranks)
        hands[place if lap % 2 == 0 else ranks - 1 - place].append(features[number])
    return hands


def terms(feature: dict) -> int:
    """How many terms of the loss a feature has."""
    return int(np.count_nonzero(np.asarray(feature["labels"]) != IGNORED)) if "labels" in feature else 1
