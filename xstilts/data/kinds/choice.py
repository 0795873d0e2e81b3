"""Choosing one of several texts (HellaSwag, CosmosQA, CommonsenseQA): one score a choice.

A feature is an example: its `input_ids` are the sequences of all choices one after the other and `lengths` says where
each ends, so that `len(input_ids)` is its number of real tokens as in every other kind. `collate` makes one row a
choice; examples of different numbers of choices may share a batch, `sizes` (B,) tells them apart.
"""

from __future__ import annotations

from itertools import accumulate, chain, pairwise

import numpy as np

from xstilts.data.kinds.sequences import Layout, array, ids_of, inputs, softmax

HYPER = ("max_length",)


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature an example: `<s> context question </s> </s> choice </s>` for each choice."""
    layout = Layout(tokenizer, hyper["max_length"])
    stems = [f"{row['context']} {row['question']}".strip() for row in examples]
    ids = ids_of([*stems, *(text for row in examples for text in row["choices"])], tokenizer)
    features = []
    for number, (row, stem) in enumerate(zip(examples, stems, strict=True)):
        sequences = [layout.pair(ids[stem], ids[text]) for text in row["choices"]]
        ids_in_a_row = list(chain.from_iterable(sequences))
        feature = {"input_ids": ids_in_a_row, "lengths": list(map(len, sequences)), "example": number}
        if training:
            feature["label"] = row["label"]
        features.append(feature)
    return features


def collate(features, pad_id: int) -> dict:
    """`input_ids`, `attention_mask` (all choices, T), `sizes` (B,) and, from training features, `labels` (B,)."""
    import torch

    sequences = []
    for feature in features:
        ends = list(accumulate(feature["lengths"], initial=0))
        sequences += [feature["input_ids"][a:b] for a, b in pairwise(ends)]
    batch = inputs(sequences, pad_id)
    batch["sizes"] = torch.tensor([len(feature["lengths"]) for feature in features])
    if "label" in features[0]:
        batch["labels"] = torch.tensor([feature["label"] for feature in features])
    return batch


def loss(logits, batch):
    """Mean cross-entropy over each example's own choices; logits are one score a row of the batch."""
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pad_sequence

    rows = logits.flatten().split(batch["sizes"].tolist())
    return cross_entropy(pad_sequence(rows, batch_first=True, padding_value=float("-inf")), batch["labels"])


def unbatch(logits, batch) -> list:
    """One array (choices,) an example."""
    return np.split(array(logits).reshape(-1), np.cumsum(batch["sizes"].tolist())[:-1])


def decode(features, logits, examples, labels, hyper, options) -> list[dict]:
    """`{"label": index of the best choice, "scores": [probability of each]}` an example."""
    predictions = [None] * len(examples)
    for feature, row in zip(features, logits, strict=True):
        predictions[feature["example"]] = {"label": int(row.argmax()), "scores": softmax(row).tolist()}
    return predictions
