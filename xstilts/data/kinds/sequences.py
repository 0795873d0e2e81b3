"""What the kinds share: safe text, unique-text tokenization, the XLM-R layout, truncation and padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xstilts.errors import UserError

if TYPE_CHECKING:  # encodings that were kept need no tokenizer
    from tokenizers import Tokenizer


def clean(text: str) -> str:
    """`text` with each lone surrogate replaced by "?": the tokenizer refuses them. The length stays the same."""
    return text.encode("utf-8", "replace").decode("utf-8")


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token; a vocabulary without it is a `UserError`."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise UserError(f"tokenizer.json: no token {token}; models here use XLM-R's <s> <pad> </s> <unk>")
    return number


def ids_of(texts: Iterable[str], tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Map each different text to its piece ids without special tokens (each is tokenized once)."""
    unique = list(dict.fromkeys(texts))
    encodings = tokenizer.encode_batch_fast([clean(text) for text in unique], add_special_tokens=False)
    return {text: encoding.ids for text, encoding in zip(unique, encodings, strict=True)}


class Layout:
    """XLM-R's sequences: `<s> A </s>` and `<s> A </s> </s> B </s>`, never longer than `max_length` pieces."""

    def __init__(self, tokenizer: Tokenizer, max_length: int):
        if max_length < 5:
            raise UserError(f"max_length: {max_length} is too small; allowed: 5 or more pieces")
        self.first, self.last = special_id(tokenizer, "<s>"), special_id(tokenizer, "</s>")
        self.max_length = max_length

    def single(self, ids: Sequence[int]) -> list[int]:
        """`<s> A </s>`, A cut at its end."""
        return [self.first, *ids[: self.max_length - 2], self.last]

    def pair(self, a: Sequence[int], b: Sequence[int]) -> list[int]:
        """`<s> A </s> </s> B </s>`, the longer of both cut first (ties: B), as Hugging Face's `longest_first`."""
        a, b = truncate_pair(a, b, self.max_length - 4)
        return [self.first, *a, self.last, self.last, *b, self.last]


def truncate_pair(a: Sequence[int], b: Sequence[int], budget: int) -> tuple[Sequence[int], Sequence[int]]:
    """Cut the ends of `a` and `b` to `budget` pieces in all by dropping one at a time from the longer (ties: b).

    The rule of BERT and of transformers 2, which XTREME runs on. The tokenizers library and jiant give the last piece
    of an odd budget to the other text; `max_length` - 4 is even in all presets, where the three agree.
    """
    if len(a) + len(b) <= budget:
        return a, b
    half = budget // 2
    if len(b) <= half:
        return a[: budget - len(b)], b
    kept = a[: budget - half]
    return kept, b[: budget - len(kept)]


def pad(sequences: Sequence[Sequence[int]], value: int):
    """An int64 tensor (N, longest) of the sequences, padded at the right with `value`."""
    import torch

    padded = np.full((len(sequences), max(map(len, sequences))), value, np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)


def inputs(sequences: Sequence[Sequence[int]], pad_id: int) -> dict:
    """`input_ids` and `attention_mask`, both int64 (N, T)."""
    import torch

    ids = pad(sequences, pad_id)
    lengths = torch.tensor([len(row) for row in sequences])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def label_index(labels: Sequence[str]) -> dict[str, int]:
    """Label name -> class number, in the order of the catalog."""
    return {name: number for number, name in enumerate(labels)}


def class_of(name: str, index: dict[str, int], example: dict) -> int:
    """The class number of a gold label; an unlisted one is a `UserError` that names the example."""
    if name not in index:
        raise UserError(f"example {example['id']}: label {name!r} is not one of the task's: {', '.join(index)}")
    return index[name]


def array(logits) -> np.ndarray:
    """A tensor of any device and float type as a float32 numpy array."""
    return logits.detach().float().cpu().numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64 (reading probabilities must not lose what the logits hold)."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
