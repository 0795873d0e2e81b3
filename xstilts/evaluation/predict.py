"""Predictions of a trained model: features sorted by length, batches of a token budget, logits decoded by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from xstilts.data import kinds
from xstilts.data.encodings import Features
from xstilts.models import runtime

TOKENS_PER_BATCH = 8192
# a batch of so many stays in a CPU's cache
TOKENS_PER_BATCH_CPU = 2048


class Predictor:
    """Predicts any number of examples of one task, of all its languages at once.

    `model` is a TaskModel with a head for `task`; `hyper` and `options` are the ones it was trained with (lengths,
    doc_stride, ...); `precision` is "fp32" or "bf16"; a batch has at most `tokens_per_batch` tokens, padding included
    (None: as suits the device; one example of more is a batch of its own). `tokens` counts the real tokens predicted
    so far.
    """

    def __init__(self, model, task, kind, labels, hyper, options, precision, tokens_per_batch=None):
        self.model, self.task, self.kind = model, task, kinds.get(kind)
        self.labels, self.hyper, self.options = labels, hyper, options
        self.precision = precision
        self.tokens_per_batch = tokens_per_batch
        self.tokens = 0

    def predict(self, examples: Sequence[dict], features: Features | None = None) -> list[dict]:
        """One prediction per example, in their order (formats: `xstilts.data.kinds`).

        `features`: the examples as `encodings.features` encoded them; without, it is done here. Batches depend on the
        examples given and on nothing else. In bf16 the same example may differ in the last digits when it is predicted
        among others.
        """
        if features is None:
            features = self.kind.encode(examples, self.model.tokenizer, self.labels, self.hyper, self.options, False)
        logits = [None] * len(features)
        with inference(self.model, self.precision) as device:
            for numbers in length_batches(features, self.tokens_per_batch or at_once(device)):
                batch = self.kind.collate([features[number] for number in numbers], self.model.pad_id)
                self.tokens += int(batch["attention_mask"].sum())
                output = self.model.logits(self.task, {name: value.to(device) for name, value in batch.items()})
                for number, row in zip(numbers, self.kind.unbatch(output, batch), strict=True):
                    logits[number] = row
        return self.kind.decode(features, logits, examples, self.labels, self.hyper, self.options)


def at_once(device: torch.device) -> int:
    """How many tokens are predicted at once on a device, padding included."""
    return TOKENS_PER_BATCH_CPU if device.type == "cpu" else TOKENS_PER_BATCH


def length_batches(features: Sequence[dict], tokens_per_batch: int) -> Iterator[list[int]]:
    """Indices of features in batches of at most `tokens_per_batch` padded tokens, longest first, ties in order.

    Longest first, so that a batch too big for the memory fails at once and not after an hour.
    """
    wide = widths(features)
    if isinstance(features, Features):
        counts = features.rows
    else:
        counts = np.array([len(feature.get("lengths", (0,))) for feature in features], np.int64)
    order = np.argsort(-wide, kind="stable")
    batch, rows, widest = [], 0, 0
    for number, width, count in zip(order.tolist(), wide[order].tolist(), counts[order].tolist(), strict=True):
        if batch and (rows + count) * widest > tokens_per_batch:
            yield batch
            batch, rows = [], 0
        widest = width if not batch else widest
        batch.append(number)
        rows += count
    if batch:
        yield batch


def widths(features: Sequence[dict]) -> np.ndarray:
    """Tokens of the longest sequence of each feature."""
    if isinstance(features, Features):
        return features.widths
    return np.array([max(feature.get("lengths", [len(feature["input_ids"])])) for feature in features], np.int64)


@contextmanager
def inference(model, precision: str):
    """Evaluation mode, no gradients, autocast to `precision`; yields the model's device, restores the mode.

    Autocast keeps its bfloat16 copies of the weights until the outermost context ends: a caller of many small
    predictions opens one around all of them.
    """
    device = next(model.encoder.parameters()).device
    training = model.training
    if training:
        model.eval()
    try:
        with torch.inference_mode(), runtime.autocast(device, precision):
            yield device
    finally:
        if training:
            model.train()
