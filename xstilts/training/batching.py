"""Batches of a fixed number of features with little padding, in an order that a key decides."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from itertools import count

from xstilts.data.kinds.tagging import IGNORED
from xstilts.evaluation.predict import length_batches

WINDOW = 50  # batches that are sorted by length together: 1.5 % padding at random batches' 57 %
CHUNK = 10_000  # examples encoded at once
UNUSED = ("offsets", "positions")  # needed to decode predictions only


def encode(kind, examples: Sequence[dict], tokenizer, task: dict) -> list[dict]:
    """Training features of all examples, their integers packed (36 bytes a token as lists, 4 as arrays)."""
    features = []
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        for feature in kind.encode(chunk, tokenizer, task["labels"], task["hyper"], task["options"], True):
            kept = {key: value for key, value in feature.items() if key not in UNUSED}
            features.append(
                {key: array("i", value) if isinstance(value, list) else value for key, value in kept.items()}
            )
    return features


def epoch(lengths: Sequence[int], size: int, key: str) -> list[list[int]]:
    """Indices of one epoch in batches of `size` (the last one cut may be smaller), each of similar lengths.

    Shuffle, sort windows of 50 batches by length, shuffle the batches; `key` decides both shuffles.
    """
    generator = random.Random(key)
    order = list(range(len(lengths)))
    generator.shuffle(order)
    batches = []
    for start in range(0, len(order), WINDOW * size):
        window = sorted(order[start : start + WINDOW * size], key=lambda index: lengths[index])
        batches += [window[i : i + size] for i in range(0, len(window), size)]
    generator.shuffle(batches)
    return batches


def stream(lengths: Sequence[int], size: int, key: str) -> Iterator[list[int]]:
    """Batches without end, epoch after epoch, each in an order of its own."""
    for number in count():
        yield from epoch(lengths, size, f"{key}/{number}")


def micro_batches(features: Sequence[dict], tokens_per_batch: int) -> list[tuple[list[dict], float]]:
    """Split a batch into parts of at most `tokens_per_batch` padded tokens: [(features, weight)].

    The weights add up to 1 and are shares of what the loss is a mean over (labelled pieces for tagging, else
    features), so that the weighted sum of the parts' losses is the loss of the whole batch.
    """
    parts = [[features[i] for i in numbers] for numbers in length_batches(features, tokens_per_batch)]
    sizes = [sum(map(terms, part)) for part in parts]
    total = sum(sizes) or 1
    return [(part, size / total) for part, size in zip(parts, sizes, strict=True)]


def terms(feature: dict) -> int:
    """How many terms of the loss a feature has."""
    return sum(label != IGNORED for label in feature["labels"]) if "labels" in feature else 1
