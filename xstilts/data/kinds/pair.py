"""Classification of two texts: one label an example (XNLI, PAWS-X, MNLI, QQP)."""

from __future__ import annotations

from xstilts.data.kinds.sequences import Layout, array, class_of, ids_of, inputs, label_index, softmax

HYPER = ("max_length",)


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature an example: `<s> text_a </s> </s> text_b </s>`; `label` (class number) when training."""
    layout, index = Layout(tokenizer, hyper["max_length"]), label_index(labels)
    ids = ids_of((text for row in examples for text in (row["text_a"], row["text_b"])), tokenizer)
    features = []
    for number, row in enumerate(examples):
        feature = {"input_ids": layout.pair(ids[row["text_a"]], ids[row["text_b"]]), "example": number}
        if training:
            feature["label"] = class_of(row["label"], index, row)
        features.append(feature)
    return features


def collate(features, pad_id: int) -> dict:
    """`input_ids`, `attention_mask` (B, T) and, from training features, `labels` (B,)."""
    import torch

    batch = inputs([feature["input_ids"] for feature in features], pad_id)
    if "label" in features[0]:
        batch["labels"] = torch.tensor([feature["label"] for feature in features])
    return batch


def loss(logits, batch):
    """Mean cross-entropy of logits (B, L)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, batch["labels"])


def unbatch(logits, batch) -> list:
    """Logits (B, L) as B arrays (L,)."""
    return list(array(logits))


def decode(features, logits, examples, labels, hyper, options) -> list[dict]:
    """`{"label": name, "scores": {name: probability}}` an example; equal logits: the label listed first."""
    predictions = [None] * len(examples)
    for feature, row in zip(features, logits, strict=True):
        scores = dict(zip(labels, softmax(row).tolist(), strict=True))
        predictions[feature["example"]] = {"label": labels[int(row.argmax())], "scores": scores}
    return predictions
