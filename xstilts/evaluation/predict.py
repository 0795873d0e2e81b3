"""Predictions of a trained model: features sorted by length, batches of a token budget, logits decoded by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from xstilts.data import kinds
from xstilts.data.encodings import Features
from xstilts.models import runtime

TOKENS_PER_BATCH = 8192
# a batch of so many stays in a CPU's cache
TOKENS_PER_BATCH_CPU = 2048
MULTIPLE = 8  # of a stable batch's width, and in float32 of its rows where a head reads one state a row
ONE_STATE = ("pair",)  # kinds whose heads do


class Predictor:
    """Predicts any number of examples of one task, of all its languages at once.

    `model` is a TaskModel with a head for `task`; `hyper` and `options` are the ones it was trained with (lengths,
    doc_stride, ...); `precision` is "fp32" or "bf16"; a batch has at most `tokens_per_batch` tokens, padding included
    (None: as suits the device; one example of more is a batch of its own). `tokens` counts the real tokens predicted
    so far. `stable`: the prediction of an example is equal to the bit whatever else is predicted (`stable_batches`);
    without, it may differ in the last digits.
    """

    def __init__(self, model, task, kind, labels, hyper, options, precision, tokens_per_batch=None, stable=False):
        if stable and kind == "choice":
            raise ValueError("kind choice: the rows of an example share a batch, which cannot be made stable")
        self.model, self.task, self.kind = model, task, kinds.get(kind)
        self.labels, self.hyper, self.options = labels, hyper, options
        self.precision = precision
        self.tokens_per_batch, self.stable = tokens_per_batch, stable
        self.multiple = MULTIPLE if kind in ONE_STATE and precision == "fp32" else 1
        self.tokenizer = CachedTokenizer(model.tokenizer) if stable else None
        self.tokens = 0

    def predict(self, examples: Sequence[dict], features: Features | None = None) -> list[dict]:
        """One prediction per example, in their order (formats: `xstilts.data.kinds`).

        `features`: the examples as `encodings.features` encoded them; without, it is done here. Batches depend on the
        examples given and on nothing else.
        """
        if features is None:
            tokenizer = self.tokenizer or self.model.tokenizer
            features = self.kind.encode(examples, tokenizer, self.labels, self.hyper, self.options, False)
        logits = [None] * len(features)
        with inference(self.model, self.precision) as device:
            for numbers, batch in self._batches(features, device):
                self.tokens += sum(len(features[number]["input_ids"]) for number in dict.fromkeys(numbers))
                output = self.model.logits(self.task, {name: value.to(device) for name, value in batch.items()})
                for number, row in zip(numbers, self.kind.unbatch(output, batch), strict=True):
                    logits[number] = row
        return self.kind.decode(features, logits, examples, self.labels, self.hyper, self.options)

    def _batches(self, features: Sequence[dict], device: torch.device) -> Iterator[tuple[list[int], dict]]:
        """(indices of features, their collated batch)."""
        tokens, pad_id = self.tokens_per_batch or at_once(device), self.model.pad_id
        if not self.stable:
            for numbers in length_batches(features, tokens):
                yield numbers, self.kind.collate([features[number] for number in numbers], pad_id)
            return
        lengths = widths(features).tolist()
        for numbers, width in stable_batches(lengths, tokens, device, self.multiple, longest(self.model)):
            yield numbers, widened(self.kind.collate([features[number] for number in numbers], pad_id), width, pad_id)


class CachedTokenizer:
    """A tokenizers.Tokenizer that remembers texts: what an attack leaves alone is tokenized once.

    At most `most` characters are remembered; then all is forgotten.
    """

    def __init__(self, tokenizer, most: int = 1 << 22):
        self._tokenizer, self._most, self._characters = tokenizer, most, 0
        self._known: dict[tuple[bool, str], Encoded] = {}
        self.token_to_id = tokenizer.token_to_id

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool = False) -> list[Encoded]:
        """As the tokenizer's own: ids alone, no offsets."""
        return self._encoded(texts, add_special_tokens, False)

    def encode_batch(self, texts: list[str], add_special_tokens: bool = False) -> list[Encoded]:
        """As the tokenizer's own: ids and offsets."""
        return self._encoded(texts, add_special_tokens, True)

    def _encoded(self, texts: list[str], add_special_tokens: bool, offsets: bool) -> list[Encoded]:
        if add_special_tokens:
            raise ValueError("special tokens are put in by the kinds")
        if self._characters > self._most:
            self._known, self._characters = {}, 0
        fresh = [text for text in dict.fromkeys(texts) if (offsets, text) not in self._known]
        encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        for text, found in zip(fresh, encode(fresh, add_special_tokens=False) if fresh else (), strict=True):
            self._known[offsets, text] = Encoded(found.ids, found.offsets if offsets else None)
            self._characters += len(text)
        return [self._known[offsets, text] for text in texts]


class Encoded(NamedTuple):
    """What the kinds read of a tokenizers.Encoding."""

    ids: list[int]
    offsets: list[tuple[int, int]] | None


def stable_batches(
    lengths: Sequence[int], tokens: int, device: torch.device, multiple: int = MULTIPLE, longest: int | None = None
) -> Iterator[tuple[list[int], int]]:
    """(indices, width) of batches in which a row's result is equal to the bit whatever stands beside it.

    Measured (torch 2.13, an AMD EPYC with avx512_bf16, 1 and 2 threads): a row of a product of matrices has the same
    bits for every number of rows in bf16, and in float32 for multiples of 8; attention's sums depend on the padded
    length. So rows of a batch have the same own length rounded up to a multiple of 8, `width` (at most `longest`,
    what the model takes), and all of them have padding or none has, since attention takes another path without. The
    number of rows is a multiple of `multiple` (1 in bf16 and where products are over all tokens): the last is repeated.
    A batch has at most `tokens` tokens, but for the least number of rows. On an accelerator, whose kernels are chosen
    by the shape, all batches of one width have equally many rows (tried on a CPU only).
    """
    groups: dict[tuple[int, bool], list[int]] = {}
    for number, length in enumerate(lengths):
        width = -(-length // MULTIPLE) * MULTIPLE
        width = max(length, min(width, longest or width))
        groups.setdefault((width, width == length), []).append(number)
    for (width, _), numbers in sorted(groups.items(), reverse=True):  # longest first: too much fails at once
        rows = max(1, tokens // width // multiple) * multiple
        for first in range(0, len(numbers), rows):
            chosen = numbers[first : first + rows]
            room = rows if device.type != "cpu" else -(-len(chosen) // multiple) * multiple
            yield chosen + [chosen[-1]] * (room - len(chosen)), width


def widened(batch: dict, width: int, pad_id: int) -> dict:
    """A collated batch with its `input_ids` and `attention_mask` padded to `width` columns."""
    room = width - batch["input_ids"].shape[1]
    if not room:
        return batch
    pad = torch.nn.functional.pad
    return batch | {
        "input_ids": pad(batch["input_ids"], (0, room), value=pad_id),
        "attention_mask": pad(batch["attention_mask"], (0, room)),
    }


def longest(model) -> int | None:
    """The most tokens of a row that the model takes, where its encoder says so."""
    return getattr(getattr(model.encoder, "embeddings", None), "longest", None)


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
