"""Single texts for sentence embeddings (Tatoeba, BUCC); no labels, no loss, no decoding."""

from __future__ import annotations

from xstilts.data.kinds.sequences import Layout, ids_of, inputs

HYPER = ("max_length",)


def encode(examples, tokenizer, labels, hyper, options, training: bool) -> list[dict]:
    """One feature an example: `<s> text </s>`."""
    layout = Layout(tokenizer, hyper["max_length"])
    ids = ids_of((row["text"] for row in examples), tokenizer)
    return [{"input_ids": layout.single(ids[row["text"]]), "example": i} for i, row in enumerate(examples)]


def collate(features, pad_id: int) -> dict:
    """`input_ids` and `attention_mask` (B, T)."""
    return inputs([feature["input_ids"] for feature in features], pad_id)
